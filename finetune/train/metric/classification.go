package metric

import (
	"fmt"
	"math"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
)

// ignored is the class number that cross-entropy passes over, PyTorch's ignore_index.
const ignored = -100

// need is what a metric reads of each row beside its true and its predicted class.
type need int

// The needs: a column of numbers, or all scores.
const (
	needNothing    need = iota
	needPlace           // how many classes have a higher score than the true one
	needTruth           // the probability of the true class
	needBrier           // the Brier score of the row
	needConfidence      // the highest probability
	needScores          // the logits of all classes
)

// classification measures logits [N, classes] against class numbers.
type classification struct {
	options   Options
	names     []string
	classes   int // of the head; 0 before the first batch
	asked     []classMetric
	losses    losses                  // cross-entropy
	predicted []torch.Tensor          // [N] int64, of each batch
	labels    []torch.Tensor          // [N] int64, of each batch
	kept      map[need][]torch.Tensor // of each batch: [N] float64, or for needScores [N, classes] float32
}

// NewClassification measures logits [N, classes] against class numbers [N], int64: accuracy, and macro_f1, the mean of
// the classes' F1 scores. names are the classes, or nil: then there are as many as the head gives scores.
func NewClassification(names []string) Metric {
	m, err := Options{}.Classification(names)
	if err != nil {
		panic(err) // the defaults are defined for any number of classes
	}
	return m
}

// Classification measures as NewClassification what the options ask for, see ClassificationNames; probabilities are the
// softmax of the logits, in float64. A name that is none is a *NameError.
func (o Options) Classification(classes []string) (Metric, error) {
	asked, err := o.chooseClass(len(classes))
	if err != nil {
		return nil, err
	}
	c := &classification{options: o, names: classes, classes: len(classes), asked: asked, kept: map[need][]torch.Tensor{}}
	for _, m := range asked {
		if m.needs != needNothing {
			c.kept[m.needs] = nil
		}
	}
	return c, nil
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
		if c.asked, err = c.options.chooseClass(logits.Size(1)); err != nil {
			return err
		}
		c.classes = logits.Size(1)
	}
	if n := logits.Size(1); n != c.classes {
		return fmt.Errorf("the head gives %d scores a row, the data has %d classes", n, c.classes)
	}
	c.losses.add(nn.CrossEntropy(logits, labels, 0), logits.Size(0))
	c.predicted = append(c.predicted, torch.Keep(logits.Argmax(1)))
	c.labels = append(c.labels, torch.Keep(labels.Alias()))
	c.keep(logits, labels)
	return nil
}

// keep keeps what the metrics need of a batch.
func (c *classification) keep(logits, labels torch.Tensor) {
	if len(c.kept) == 0 {
		return
	}
	class := labels.Clamp(0, c.classes-1).Unsqueeze(1)  // [N, 1]; rows whose target is no class are left out later
	probabilities := logits.SoftmaxAs(1, torch.Float64) // [N, classes]
	for need := range c.kept {
		var x torch.Tensor
		switch need {
		case needPlace:
			score := logits.Gather(1, class) // [N, 1]
			numbers := torch.Arange(0, c.classes, logits.Device())
			first := logits.Eq(score).LogicalAnd(numbers.Lt(class)) // as high, and of a lower number
			x = logits.Gt(score).LogicalOr(first).SumDim(1).To(torch.Float64)
		case needTruth:
			x = probabilities.Gather(1, class).Reshape(-1)
		case needBrier:
			x = probabilities.Sub(class.Reshape(-1).OneHot(c.classes)).Square().SumDim(1).MulScalar(brierScale(c.classes))
		case needConfidence:
			x = probabilities.Amax(1)
		case needScores:
			x = logits.To(torch.Float32).Clone()
		}
		c.kept[need] = append(c.kept[need], torch.Keep(x))
	}
}

func (c *classification) Score() (Score, error) {
	counts := newCounts(c.names, c.classes)
	if c.losses.rows == 0 {
		return c.score(counts, &classRows{classes: c.classes, columns: map[need][]float64{}}, 0), nil
	}
	var predicted, labels []int64
	torch.Scoped(func() {
		predicted = torch.ToSlice[int64](torch.Cat(c.predicted, 0))
		labels = torch.ToSlice[int64](torch.Cat(c.labels, 0))
	})
	rows := &classRows{classes: c.classes, columns: map[need][]float64{}}
	var measured []int // rows that have a class
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
		measured = append(measured, i)
		rows.truth, rows.predicted = append(rows.truth, int(labels[i])), append(rows.predicted, int(class))
	}
	torch.Scoped(func() {
		for need, batches := range c.kept {
			if all := torch.Cat(batches, 0); need == needScores {
				rows.logits = pick(torch.ToSlice[float32](all), measured, c.classes)
			} else {
				rows.columns[need] = pick(torch.ToSlice[float64](all), measured, 1)
			}
		}
	})
	rows.normalize()
	return c.score(counts, rows, c.losses.mean()), nil
}

// pick gives some rows, in order, of a table; it writes over the table.
func pick[T any](cells []T, rows []int, width int) []T {
	for to, from := range rows {
		copy(cells[to*width:(to+1)*width], cells[from*width:(from+1)*width])
	}
	return cells[:len(rows)*width]
}

// score computes what was asked for.
func (c *classification) score(counts *counts, rows *classRows, loss float64) Score {
	score := Score{Loss: loss, Rows: counts.Rows, Classes: counts.classes()}
	statistics := make([]Statistic, len(c.asked))
	for i, m := range c.asked {
		value := Value{Name: m.name, Lower: m.lower}
		if m.counted != nil {
			value.Value = m.counted(counts.Counts)
		} else {
			statistics[i] = m.of(rows)
			value.Value = statistics[i](nil)
		}
		score.Values = append(score.Values, value)
	}
	score.addIntervals(c.options.Intervals, counts.Rows, func(times []int32, into []float64) {
		drawn := countTimes(rows.truth, rows.predicted, c.classes, times)
		for i, m := range c.asked {
			if m.counted != nil {
				into[i] = m.counted(drawn)
			} else {
				into[i] = statistics[i](times)
			}
		}
	})
	return score
}

func (c *classification) Close() {
	c.losses.close()
	closeAll(c.predicted)
	closeAll(c.labels)
	for _, batches := range c.kept {
		closeAll(batches)
	}
}

// classRows is what metrics of classes read.
type classRows struct {
	classes          int
	truth, predicted []int
	columns          map[need][]float64
	logits           []float32 // [rows, classes], where a metric needs them
	logSums          []float64 // of each row: the logarithm of the sum of the logits' exponentials
}

// normalize computes logSums.
func (r *classRows) normalize() {
	for i := 0; i < len(r.logits); i += r.classes {
		highest, sum := math.Inf(-1), 0.0
		for _, x := range r.logits[i : i+r.classes] {
			highest = max(highest, float64(x))
		}
		for _, x := range r.logits[i : i+r.classes] {
			sum += math.Exp(float64(x) - highest)
		}
		r.logSums = append(r.logSums, highest+math.Log(sum))
	}
}

// correct tells which rows' classes are predicted.
func (r *classRows) correct() []bool {
	out := make([]bool, len(r.truth))
	for i, class := range r.truth {
		out[i] = r.predicted[i] == class
	}
	return out
}

// rankingOf is a metric of the second class of two, or averages that of each class against the rest.
func rankingOf(a Average, of func([]bool, []float64) Statistic) func(r *classRows) Statistic {
	return func(r *classRows) Statistic {
		if r.classes == 2 {
			return of(r.column(1))
		}
		return averaged(r, a, of)
	}
}

func (r *classRows) width() int { return r.classes }

// column is a class against the rest, and its probabilities.
func (r *classRows) column(class int) ([]bool, []float64) {
	truth, probabilities := make([]bool, len(r.truth)), make([]float64, len(r.truth))
	for i, t := range r.truth {
		truth[i], probabilities[i] = t == class, math.Exp(float64(r.logits[i*r.classes+class])-r.logSums[i])
	}
	return truth, probabilities
}

func (r *classRows) all() ([]bool, []float64) { panic("no metric of classes takes all cells as rows") }

func each(values []float64, f func(float64) float64) []float64 {
	out := make([]float64, len(values))
	for i, v := range values {
		out[i] = f(v)
	}
	return out
}
