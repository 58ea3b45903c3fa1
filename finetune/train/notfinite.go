package train

import (
	"errors"
	"fmt"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/data"
	"github.com/thaw-ml/thaw/torch/nn"
)

// ErrNotFinite is the error of a step whose loss is NaN or infinite.
var ErrNotFinite = errors.New("the loss is not a finite number: a lower learning rate, or gradient clipping, may help")

// NotFiniteError names the first tensor of a step that has a NaN or an infinite value. It is an ErrNotFinite.
type NotFiniteError struct {
	Stage   string // of the model; empty for the batch, and the loss
	Tensor  string // such as "parameter layer.0.output.dense.weight", "output" or "the batch's input"
	Shape   []int
	Bad     int   // its values that are NaN or infinite
	Values  int   // all of its values
	Samples []int // the batch's, by their positions in the data set
}

func (e *NotFiniteError) Error() string {
	where := e.Tensor
	if e.Stage != "" {
		where += " of stage " + e.Stage
	}
	some := e.Samples
	more := ""
	if len(some) > 4 {
		some, more = some[:4], " ..."
	}
	return fmt.Sprintf("%v. The first tensor with such values is the %s, %v: %d of %d; the batch has samples %d%s",
		ErrNotFinite, where, e.Shape, e.Bad, e.Values, some, more)
}

// Unwrap gives ErrNotFinite.
func (e *NotFiniteError) Unwrap() error { return ErrNotFinite }

// notFinite finds the first tensor that is not finite in a step on a batch whose loss, or gradients, are not: input,
// parameters and outputs stage by stage, then the loss, then gradients from the head downwards.
func (s *step[B]) notFinite(b B, x nn.Values) (found *NotFiniteError) {
	look := func(stage, name string, t torch.Tensor) bool {
		if found == nil && t.Defined() && t.DType().IsFloat() {
			if bad := t.Numel() - int(t.IsFinite().Sum().Item()); bad > 0 {
				found = &NotFiniteError{Stage: stage, Tensor: name, Shape: t.Shape(), Bad: bad, Values: t.Numel(), Samples: b.Indices()}
			}
		}
		return found != nil
	}
	torch.Scoped(func() {
		torch.NoGrad(func() {
			for _, t := range b.Tensors() {
				if look("", "batch's input", t) {
					return
				}
			}
			for _, t := range x {
				if look("", "frozen stages' output", t) {
					return
				}
			}
			if x == nil && s.frozen > 0 {
				x = s.outputs(b, nil, s.stages[:s.frozen], look)
			}
			if x = s.outputs(b, x, s.stages[s.frozen:], look); found != nil {
				return
			}
			if look("", "loss", s.objective.Loss(x, b.Targets())) {
				return
			}
			for i := len(s.stages) - 1; i >= s.frozen; i-- {
				for key, p := range nn.Params(s.stages[i].Module) {
					if look(s.stages[i].Name, "gradient of "+s.stages[i].Key+key, p.Grad()) {
						return
					}
				}
			}
		})
	})
	return found
}

// outputs runs stages one by one and looks at their parameters and outputs.
func (s *step[B]) outputs(b B, x nn.Values, stages []nn.Stage[B], look func(stage, name string, t torch.Tensor) bool) nn.Values {
	for i, stage := range stages {
		for key, p := range nn.Params(stage.Module) {
			if look(stage.Name, "parameter "+stage.Key+key, p) {
				return x
			}
		}
		autocast(s.precision, func() { x = nn.RunStages(stages[i:i+1], b, x) })
		for _, t := range x {
			if look(stage.Name, "output", t) {
				return x
			}
		}
	}
	return x
}

// explain names the tensor behind an ErrNotFinite where it can be found.
func explain[B data.Batch[B]](s *step[B], b B, x nn.Values, err error) error {
	if elsewhere := new(elsewhereError); !errors.Is(err, ErrNotFinite) || errors.As(err, &elsewhere) {
		return err
	}
	var found *NotFiniteError
	if torch.Try(func() { found = s.notFinite(b, x) }) != nil || found == nil {
		return err
	}
	return found
}
