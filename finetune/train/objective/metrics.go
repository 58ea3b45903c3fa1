package objective

import (
	"github.com/thaw-ml/thaw/finetune/train/metric"
	"github.com/thaw-ml/thaw/torch/nn"
)

// CheckMetrics makes sure that the objective of a problem type has the metrics that are named. outputs is the number of
// classes, or 0 where it is not known yet. The error is a *metric.NameError.
func CheckMetrics(problem ProblemType, outputs int, names []string) error {
	var classes []string
	if outputs > 0 {
		classes = make([]string, outputs)
	}
	_, err := New(problem, classes).WithMetrics(names)
	return err
}

// checked gives an objective whose metric can be made.
func checked(o Objective, make func() (metric.Metric, error)) (Objective, error) {
	m, err := make()
	if err != nil {
		return nil, err
	}
	m.Close()
	return o, nil
}

// orFailed gives a metric, or one that gives the error wherever it is used: NewMetric has no other way.
func orFailed(m metric.Metric, err error) metric.Metric {
	if err != nil {
		return failed{err}
	}
	return m
}

// failed is a metric that could not be made.
type failed struct{ err error }

func (f failed) Add(nn.Values, nn.Values) error { return f.err }
func (f failed) Score() (metric.Score, error)   { return metric.Score{}, f.err }
func (f failed) Close()                         {}
