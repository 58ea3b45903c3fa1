package metric

import (
	"fmt"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
)

// multiLabel measures logits [N, classes] against targets of the same shape.
type multiLabel struct {
	names     []string
	threshold float64
	classes   int
	losses    losses
	counted   []torch.Tensor // [3, classes] int64 of each batch: hits, predictions, samples of each class
	exact     []torch.Tensor // int64, of each batch: samples whose labels are all right
}

// NewMultiLabel measures logits [N, classes] against 0 or 1 of the same shape, a label being predicted where the
// logit's sigmoid is above threshold: micro_f1, macro_f1, and subset_accuracy, the share of samples whose labels are
// all right, as scikit-learn's f1_score and accuracy_score. names are the classes, or nil.
func NewMultiLabel(names []string, threshold float64) Metric {
	return &multiLabel{names: names, threshold: threshold, classes: len(names)}
}

func (m *multiLabel) Add(output, target nn.Values) error {
	logits, err := outputOf(output)
	if err != nil {
		return err
	}
	truth, err := targetOf(target)
	if err != nil {
		return err
	}
	if m.classes == 0 {
		m.classes = logits.Size(1)
	}
	if n := logits.Size(1); n != m.classes {
		return fmt.Errorf("the head gives %d scores a row, the data has %d labels", n, m.classes)
	}
	m.losses.add(torch.BinaryCrossEntropyWithLogits(logits, truth, torch.Tensor{}, torch.Tensor{}, torch.ReduceMean), logits.Size(0))
	predicted := logits.To(torch.Float32).Sigmoid().GtScalar(m.threshold).To(torch.Int64)
	actual := truth.GtScalar(0.5).To(torch.Int64)
	both := predicted.Mul(actual)
	sum := func(x torch.Tensor) torch.Tensor { return x.SumDim(0) }
	m.counted = append(m.counted, torch.Keep(torch.Stack([]torch.Tensor{sum(both), sum(predicted), sum(actual)}, 0)))
	differ := predicted.Sub(actual).Abs().SumDim(1) // [N]
	m.exact = append(m.exact, torch.Keep(differ.EqScalar(0).To(torch.Int64).Sum()))
	return nil
}

func (m *multiLabel) Score() (Score, error) {
	c := newCounts(m.names, m.classes)
	exact := int64(0)
	if c.rows = m.losses.rows; c.rows > 0 {
		torch.Scoped(func() {
			sums := torch.ToSlice[int64](torch.Stack(m.counted, 0).SumDim(0))
			for i := range m.classes {
				c.hits[i], c.predicted[i], c.support[i] = int(sums[i]), int(sums[m.classes+i]), int(sums[2*m.classes+i])
			}
			exact = torch.ToSlice[int64](torch.Stack(m.exact, 0).Sum())[0]
		})
	}
	var hits, both int
	macro := 0.0
	classes := &Classes{PerClass: make([]ClassScore, m.classes)}
	for i := range m.classes {
		hits, both = hits+c.hits[i], both+c.predicted[i]+c.support[i]
		classes.PerClass[i] = classScore(c.name(i), c.hits[i], c.predicted[i], c.support[i])
		macro += classes.PerClass[i].F1 / float64(m.classes)
	}
	micro, subset := 0.0, 0.0
	if both > 0 {
		micro = 2 * float64(hits) / float64(both)
	}
	if c.rows > 0 {
		subset = float64(exact) / float64(c.rows)
	}
	return Score{
		Loss: m.losses.mean(), Rows: c.rows, Classes: classes,
		Values: []Value{
			{Name: "micro_f1", Value: micro}, {Name: "macro_f1", Value: macro}, {Name: "subset_accuracy", Value: subset},
		},
	}, nil
}

func (m *multiLabel) Close() {
	m.losses.close()
	closeAll(m.counted)
	closeAll(m.exact)
}
