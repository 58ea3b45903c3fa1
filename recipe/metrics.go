package recipe

import (
	"errors"
	"fmt"

	"github.com/thaw-ml/thaw/finetune/train/metric"
	"github.com/thaw-ml/thaw/finetune/train/objective"
)

// resolveMetrics checks that the head's objective has the metrics that are named. Their number of classes may be known
// only once the data is read: withMetrics checks again.
func (s *Spec) resolveMetrics(f *faults, k kind) {
	f.check(len(s.Metrics) > 0 || !f.source.given("metrics"), "metrics", "must name one metric or more; leave the key out for the usual ones")
	if len(s.Metrics) == 0 {
		s.Metrics = nil
		return
	}
	if e := metricFault(k.checkMetrics(s)); e != nil {
		f.add(metricKey(e), "%w", e)
	}
}

// checkMetrics is that of texts and images.
func (s *Spec) checkMetrics() error {
	return objective.CheckMetrics(s.Head.problem(), len(s.Head.Classes), s.Metrics)
}

// withMetrics is an objective with the spec's metrics.
func withMetrics[O interface {
	WithMetrics(names []string) (O, error)
}](s *Spec, o O) (O, error) {
	o, err := o.WithMetrics(s.Metrics)
	if e := metricFault(err); e != nil {
		err = s.Errorf(metricKey(e), "%w", e)
	}
	return o, err
}

func metricFault(err error) *metric.NameError {
	e, _ := errors.AsType[*metric.NameError](err)
	return e
}

func metricKey(e *metric.NameError) string { return fmt.Sprintf("metrics[%d]", e.Position) }
