package finetune

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/data"
)

// isNil reports whether a data set is nil, or a nil pointer.
func isNil(set any) bool {
	v := reflect.ValueOf(set)
	return !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil()
}

// checkBest makes sure that the objective has the metric that Options.Best names.
func checkBest[B data.Batch[B]](model Model[B], o Options) error {
	if o.Best == "" {
		return nil
	}
	objective := o.Objective
	if objective == nil {
		objective = model.Objective()
	}
	m := objective.NewMetric()
	defer m.Close()
	score, err := m.Score()
	if err != nil {
		return err
	}
	if _, ok := score.Find(o.Best); !ok {
		return &BestError{o.Best, score.Names()}
	}
	return nil
}

// BestError is an Options.Best that the objective does not measure.
type BestError struct {
	Name     string
	Measured []string
}

func (e *BestError) Error() string {
	return fmt.Sprintf("the best epoch is to be chosen by %q, and the objective measures %s", e.Name, strings.Join(e.Measured, ", "))
}

func newBackend(o Options) (train.Backend, torch.DType, error) {
	device, precision, err := train.ChooseDevice(o.Device, o.Precision)
	if err != nil {
		return nil, precision, err
	}
	backend, err := train.NewBackend(device, train.Settings{Precision: precision, Deterministic: o.Deterministic, Seed: o.Seed})
	return backend, precision, err
}

// CheckPhases makes sure that every phase trains something that the model has, so that a wrong name in the last one
// costs nothing. The parameters need no values.
func CheckPhases[B data.Batch[B]](model Model[B], phases []Phase) error {
	if isNil(model) {
		return errors.New("the model is nil")
	}
	if err := checkOpen(model.Stages()); err != nil {
		return err
	}
	for i, phase := range phases {
		if _, err := newPlan(phase, model.Stages()); err != nil {
			return &PhaseError{i, err}
		}
	}
	return nil
}

// PhaseError is a phase that selects what the model does not have.
type PhaseError struct {
	Phase int // counted from 0
	Err   error
}

func (e *PhaseError) Error() string { return fmt.Sprintf("Phases[%d].Train: %v", e.Phase, e.Err) }

// Unwrap gives Err.
func (e *PhaseError) Unwrap() error { return e.Err }
