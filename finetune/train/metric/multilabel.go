package metric

import (
	"fmt"
	"slices"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
)

// multiLabel measures logits [N, classes] against targets of the same shape.
type multiLabel struct {
	options   Options
	asked     []labelMetric
	names     []string
	threshold float64
	classes   int
	losses    losses
	counted   []torch.Tensor // [3, classes] int64 of each batch: hits, predictions, samples of each class
	exact     []torch.Tensor // int64, of each batch: samples whose labels are all right
	cells     []torch.Tensor // [3, N, classes] float32 of each batch, where a metric needs them: logits, predicted, true
}

// NewMultiLabel measures logits [N, classes] against 0 or 1 of the same shape, a label being predicted where the
// logit's sigmoid is above threshold: micro_f1, macro_f1, and subset_accuracy, the share of samples whose labels are
// all right, as scikit-learn's f1_score and accuracy_score. names are the classes, or nil.
func NewMultiLabel(names []string, threshold float64) Metric {
	m, err := Options{}.MultiLabel(names, threshold)
	if err != nil {
		panic(err) // the defaults are defined for any number of labels
	}
	return m
}

// MultiLabel measures as NewMultiLabel what the options ask for, see MultiLabelNames. A name that is none is a
// *NameError.
func (o Options) MultiLabel(labels []string, threshold float64) (Metric, error) {
	asked, err := o.chooseLabel()
	if err != nil {
		return nil, err
	}
	return &multiLabel{options: o, asked: asked, names: labels, threshold: threshold, classes: len(labels)}, nil
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
	if m.needsCells() {
		cells := []torch.Tensor{logits.To(torch.Float32), predicted.To(torch.Float32), actual.To(torch.Float32)}
		m.cells = append(m.cells, torch.Keep(torch.Stack(cells, 0)))
	}
	return nil
}

// needsCells reports whether all scores are kept.
func (m *multiLabel) needsCells() bool {
	return m.options.Intervals != nil || slices.ContainsFunc(m.asked, func(m labelMetric) bool { return m.of != nil })
}

func (m *multiLabel) Score() (Score, error) {
	c := &labelCounts{Counts: NewCounts(m.classes)}
	s := scores{labels: m.classes}
	if c.Rows = m.losses.rows; c.Rows > 0 {
		torch.Scoped(func() {
			sums := torch.ToSlice[int64](torch.Stack(m.counted, 0).SumDim(0))
			for i := range m.classes {
				c.Hits[i], c.Predicted[i], c.Support[i] = int(sums[i]), int(sums[m.classes+i]), int(sums[2*m.classes+i])
			}
			c.exact = int(torch.ToSlice[int64](torch.Stack(m.exact, 0).Sum())[0])
			if m.needsCells() {
				cells := torch.ToSlice[float32](torch.Cat(m.cells, 1)) // [3, rows, classes]
				n := len(cells) / 3
				s.logits, s.predicted, s.truth = cells[:n], cells[n:2*n], cells[2*n:]
			}
		})
	}
	score := Score{Loss: m.losses.mean(), Rows: c.Rows, Classes: &Classes{PerClass: make([]ClassScore, m.classes)}}
	for i := range m.classes {
		score.Classes.PerClass[i] = classScore(nameOf(m.names, i), c.Counts, i)
	}
	statistics := make([]Statistic, len(m.asked))
	for i, asked := range m.asked {
		value := Value{Name: asked.name, Lower: asked.lower}
		if asked.counted != nil {
			value.Value = asked.counted(c)
		} else {
			statistics[i] = asked.of(s)
			value.Value = statistics[i](nil)
		}
		score.Values = append(score.Values, value)
	}
	score.addIntervals(m.options.Intervals, c.Rows, func(times []int32, into []float64) {
		drawn := s.count(times)
		for i, asked := range m.asked {
			if asked.counted != nil {
				into[i] = asked.counted(drawn)
			} else {
				into[i] = statistics[i](times)
			}
		}
	})
	return score, nil
}

func (m *multiLabel) Close() {
	m.losses.close()
	closeAll(m.counted)
	closeAll(m.exact)
	closeAll(m.cells)
}

// labelCounts counts each label for itself.
type labelCounts struct {
	*Counts     // Rows are samples
	exact   int // samples whose labels are all right
}

// subsetAccuracy is the share of samples whose labels are all right; 0 without samples.
func (c *labelCounts) subsetAccuracy() float64 { return ratio(c.exact, c.Rows) }

// hammingLoss is the share of labels that are wrong (scikit-learn's hamming_loss); 0 without samples.
func (c *labelCounts) hammingLoss() float64 {
	return ratio(sum(c.Predicted)+sum(c.Support)-2*sum(c.Hits), c.Rows*len(c.Support))
}

// scores are [rows, labels], row by row.
type scores struct {
	labels                   int
	logits, predicted, truth []float32 // predicted and truth are 0 or 1
}

// count counts labels of rows that are there several times.
func (s scores) count(times []int32) *labelCounts {
	c := &labelCounts{Counts: NewCounts(s.labels)}
	for row, n := range times {
		n, right := int(n), true
		c.Rows += n
		for label := range s.labels {
			predicted, truth := s.predicted[row*s.labels+label] > 0.5, s.truth[row*s.labels+label] > 0.5
			if predicted {
				c.Predicted[label] += n
			}
			if truth {
				c.Support[label] += n
			}
			if predicted && truth {
				c.Hits[label] += n
			}
			right = right && predicted == truth
		}
		if right {
			c.exact += n
		}
	}
	return c
}

func (s scores) width() int { return s.labels }

// column ranks by logits: their sigmoids would have the same order.
func (s scores) column(label int) (truth []bool, logits []float64) {
	for i := label; i < len(s.logits); i += s.labels {
		truth, logits = append(truth, s.truth[i] > 0.5), append(logits, float64(s.logits[i]))
	}
	return truth, logits
}

func (s scores) all() ([]bool, []float64) { return scores{1, s.logits, s.predicted, s.truth}.column(0) }
