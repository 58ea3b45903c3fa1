package detection

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/thaw-ml/thaw/finetune/train/metric"
	"github.com/thaw-ml/thaw/internal/suggest"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/vision/detection/evaluation"
)

// Objective is the sum of a network's losses, measured as COCO does.
type Objective struct {
	Network Network
	Classes []string // by label, without the background
	// Metrics are what is measured, of MetricNames; the first one chooses the best epoch. nil stands for ap, ap50, ap75 and
	// ar100.
	Metrics []string
	// Found, where not nil, is called in evaluation with what is found in each picture, by its position in the data set.
	Found func(sample int, found []Detection)
	// Measured, where not nil, is called at the end of an evaluation with all of its numbers.
	Measured func(*evaluation.Result)
}

// defaultMetrics are those of an Objective that names none.
var defaultMetrics = []string{"ap", "ap50", "ap75", "ar100"}

// metrics are the names of evaluation.Numbers.All, in its order, and of VOC's average precision.
var metrics = []string{
	"ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "ar1", "ar10", "ar100", "ar_small", "ar_medium", "ar_large", "voc_ap",
}

// MetricNames lists what can be measured: COCO's twelve numbers, average precision and recall in general, at an IoU of 0.5
// and 0.75, of small, medium and large objects, and with 1, 10 and 100 detections a picture; and Pascal VOC's average
// precision (of 2010 and later). What is not defined, as no picture has such objects, is NaN.
func MetricNames() []string { return slices.Clone(metrics) }

// Loss is the sum of the network's losses, a tensor without dimensions.
func (o Objective) Loss(output, target nn.Values) torch.Tensor {
	return Loss(o.Network, output, target)
}

// WithMetrics sets Metrics. A name that is none of MetricNames is a *metric.NameError.
func (o Objective) WithMetrics(names []string) (Objective, error) {
	o.Metrics = names
	return o, o.checkMetrics()
}

func (o Objective) checkMetrics() error {
	for i, name := range o.Metrics {
		switch {
		case name == "loss":
			return &metric.NameError{Position: i, Name: name, Reason: "the loss is always reported; leave it out"}
		case !slices.Contains(metrics, name):
			reason := fmt.Sprintf("there is no such metric of boxes%s; there are %s", suggest.DidYouMean(name, metrics), strings.Join(metrics, ", "))
			return &metric.NameError{Position: i, Name: name, Reason: reason}
		case slices.Index(o.Metrics, name) != i:
			return &metric.NameError{Position: i, Name: name, Reason: "named twice"}
		}
	}
	return nil
}

// NewMetric starts an evaluation.
func (o Objective) NewMetric() metric.Metric {
	names := o.Metrics
	if names == nil {
		names = defaultMetrics
	}
	return &measured{objective: o, names: names, evaluation: evaluation.New(o.Classes)}
}

// measured is an evaluation as a metric.
type measured struct {
	objective  Objective
	names      []string
	evaluation *evaluation.Evaluation
	loss       float64
	pictures   int
}

// Add finds objects in the network's output, for which it waits for the device.
func (m *measured) Add(output, target nn.Values) (err error) {
	if err := m.objective.checkMetrics(); err != nil {
		return err
	}
	n := m.objective.Network
	size, truth := target[targetSizes-targetBoxes], target[targetTruth-targetBoxes]
	first := n.FirstLabel()
	found := n.Detections(output, size)
	torch.Scoped(func() {
		loss := Loss(n, output, target)
		m.loss += loss.Item() * float64(len(found))
		truths, samples := truthOf(truth, first)
		for i, truths := range truths {
			if m.objective.Found != nil {
				m.objective.Found(samples[i], found[i])
			}
			if err = m.evaluation.Add(int64(samples[i]), truths, ForEvaluation(found[i], first, len(m.objective.Classes))); err != nil {
				return
			}
			m.pictures++
		}
	})
	return err
}

// ForEvaluation gives an evaluation what was found, in so many classes that count from 0 where labels do from first. Labels without
// a class, such as the background, are left out.
func ForEvaluation(found []Detection, first, classes int) (out []evaluation.Detection) {
	for _, d := range found {
		if class := d.Label - first; class >= 0 && class < classes {
			out = append(out, evaluation.Detection{
				Class: class, X1: float64(d.X1), Y1: float64(d.Y1), X2: float64(d.X2), Y2: float64(d.Y2), Score: float64(d.Score),
			})
		}
	}
	return out
}

// Score sums up.
func (m *measured) Score() (metric.Score, error) {
	score := metric.Score{Loss: m.loss / float64(max(m.pictures, 1)), Rows: m.pictures}
	result := m.evaluation.Result()
	if m.objective.Measured != nil {
		m.objective.Measured(result)
	}
	for _, name := range m.names {
		score.Values = append(score.Values, metric.Value{Name: name, Value: valueOf(result.Numbers, result.VOC, name)})
	}
	for _, c := range result.Classes {
		of := metric.ClassValues{Class: c.Name, Count: c.Positives}
		for _, name := range m.names {
			of.Values = append(of.Values, metric.Value{Name: name, Value: valueOf(c.Numbers, c.VOC, name)})
		}
		score.ByClass = append(score.ByClass, of)
	}
	return score, nil
}

// valueOf is a metric by its name; NaN where nothing of the kind was to be found.
func valueOf(numbers evaluation.Numbers, voc evaluation.VOC, name string) float64 {
	value, i := voc.AP, 0
	for _, v := range numbers.All() {
		if metrics[i] == name {
			value = v
		}
		i++
	}
	if value < 0 {
		return math.NaN()
	}
	return value
}

// Close frees nothing: what Add keeps is Go's.
func (m *measured) Close() {}
