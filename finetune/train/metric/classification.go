package metric

import (
	"fmt"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
)

// ignored is the class number that cross-entropy passes over, PyTorch's ignore_index.
const ignored = -100

// classification measures logits [N, classes] against class numbers.
type classification struct {
	names     []string
	classes   int            // of the head; 0 before the first batch
	losses    losses         // cross-entropy
	predicted []torch.Tensor // [N] int64, of each batch
	labels    []torch.Tensor // [N] int64, of each batch
}

// NewClassification measures logits [N, classes] against class numbers [N], int64: accuracy, and macro_f1, the mean of
// the classes' F1 scores. names are the classes, or nil: then there are as many as the head gives scores.
func NewClassification(names []string) Metric {
	return &classification{names: names, classes: len(names)}
}

func (c *classification) Add(output, target nn.Values) error {
	logits, err := outputOf(output)
	if err != nil {
		return err
	}
	labels, err := targetOf(target)
	if err != nil {
		return err
	}
	if c.classes == 0 {
		c.classes = logits.Size(1)
	}
	if n := logits.Size(1); n != c.classes {
		return fmt.Errorf("the head gives %d scores a row, the data has %d classes", n, c.classes)
	}
	c.losses.add(nn.CrossEntropy(logits, labels, 0), logits.Size(0))
	c.predicted = append(c.predicted, torch.Keep(logits.Argmax(1)))
	c.labels = append(c.labels, torch.Keep(labels.Alias()))
	return nil
}

func (c *classification) Score() (Score, error) {
	counts := newCounts(c.names, c.classes)
	if c.losses.rows == 0 {
		return counts.score(0), nil
	}
	var predicted, labels []int64
	torch.Scoped(func() {
		predicted = torch.ToSlice[int64](torch.Cat(c.predicted, 0))
		labels = torch.ToSlice[int64](torch.Cat(c.labels, 0))
	})
	for i, class := range predicted {
		if class < 0 || class >= int64(c.classes) {
			return Score{}, fmt.Errorf("row %d is of class %d, where there are %d: the device computes wrongly", i, class, c.classes)
		}
		if labels[i] == ignored {
			continue
		}
		if labels[i] < 0 || labels[i] >= int64(c.classes) {
			return Score{}, fmt.Errorf("row %d: there is no class %d: the classes are 0 to %d", i, labels[i], c.classes-1)
		}
		counts.add(int(labels[i]), int(class))
	}
	return counts.score(c.losses.mean()), nil
}

func (c *classification) Close() {
	c.losses.close()
	closeAll(c.predicted)
	closeAll(c.labels)
}

// counts sums up predictions. Its size is that of the classes, and of the pairs of classes that were confused.
type counts struct {
	names              []string
	support, predicted []int // samples of each class, and predictions of it
	hits               []int
	confused           map[[2]int]int // predictions by true and predicted class
	rows               int
}

func newCounts(names []string, classes int) *counts {
	return &counts{
		names: names, support: make([]int, classes), predicted: make([]int, classes), hits: make([]int, classes),
		confused: map[[2]int]int{},
	}
}

func (c *counts) add(truth, predicted int) {
	c.rows++
	c.support[truth]++
	c.predicted[predicted]++
	if truth == predicted {
		c.hits[truth]++
		return
	}
	c.confused[[2]int{truth, predicted}]++
}

// score sums up. A class that is neither in the data nor predicted has F1 0, as in scikit-learn's f1_score with
// average="macro" and every class among its labels.
func (c *counts) score(loss float64) Score {
	accuracy, macroF1, hits := 0.0, 0.0, 0
	for i := range c.support {
		hits += c.hits[i]
		if both := c.support[i] + c.predicted[i]; both > 0 {
			macroF1 += 2 * float64(c.hits[i]) / float64(both) / float64(len(c.support))
		}
	}
	if c.rows > 0 {
		accuracy = float64(hits) / float64(c.rows)
	}
	return Score{
		Loss: loss, Rows: c.rows, Classes: c.classes(),
		Values: []Value{{Name: "accuracy", Value: accuracy}, {Name: "macro_f1", Value: macroF1}},
	}
}
