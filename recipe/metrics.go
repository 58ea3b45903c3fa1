package recipe

import (
	"errors"
	"fmt"

	"github.com/thaw-ml/thaw/finetune/train/metric"
	"github.com/thaw-ml/thaw/finetune/train/objective"
	"github.com/thaw-ml/thaw/vision/detection"
)

// resolveMetrics checks that the head's objective has the metrics that are named. Their number of classes may be known
// only once the data is read: measured checks again.
func (s *Spec) resolveMetrics(f *faults) {
	f.check(len(s.Metrics) > 0 || !f.source.given("metrics"), "metrics", "must name one metric or more; leave the key out for the usual ones")
	if len(s.Metrics) == 0 {
		s.Metrics = nil
		return
	}
	var err error
	if s.Head.Objective == Detection {
		_, err = detection.Objective{}.WithMetrics(s.Metrics)
	} else {
		err = objective.CheckMetrics(s.Head.problem(), len(s.Head.Classes), s.Metrics)
	}
	if e := metricFault(err); e != nil {
		f.add(metricKey(e), "%w", e)
	}
}

// measured is an objective with the spec's metrics.
func (s *Spec) measured(o objective.Objective) (objective.Objective, error) {
	o, err := o.WithMetrics(s.Metrics)
	if e := metricFault(err); e != nil {
		return nil, s.Errorf(metricKey(e), "%w", e)
	}
	return o, err
}

func metricFault(err error) *metric.NameError {
	e, _ := errors.AsType[*metric.NameError](err)
	return e
}

func metricKey(e *metric.NameError) string { return fmt.Sprintf("metrics[%d]", e.Position) }
