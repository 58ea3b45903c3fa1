package train

import (
	"fmt"

	"github.com/thaw-ml/thaw/torch"
)

// average is the exponential moving average of what steps train: parameters, and the running statistics beside them.
type average struct {
	decay  float64
	of     []torch.Tensor
	values []torch.Tensor
}

// newAverage starts an average at the tensors' values. Those that hold no floating-point numbers, such as a batch norm's
// counter, are left out: they are the model's own.
func newAverage(decay float64, of ...[]torch.Tensor) *average {
	a := &average{decay: decay}
	for _, tensors := range of {
		for _, t := range tensors {
			if t.DType() == torch.Float32 {
				a.of = append(a.of, t)
				a.values = append(a.values, torch.NewParam(func() torch.Tensor { return torch.Empty(t.DType(), t.Device(), t.Shape()...) }))
			}
		}
	}
	torch.NoGrad(func() { torch.ForeachCopy_(a.values, a.of) })
	return a
}

// update moves the average towards the values after a step: decay*average + (1-decay)*value, as torchvision's and timm's.
func (a *average) update() {
	if a != nil {
		torch.NoGrad(func() { torch.ForeachLerp_(a.values, a.of, 1-a.decay) })
	}
}

// swap exchanges the model's values and the average.
func (a *average) swap() {
	torch.Scoped(func() {
		torch.NoGrad(func() {
			for i, t := range a.of {
				own := t.Clone()
				t.Copy_(a.values[i])
				a.values[i].Copy_(own)
			}
		})
	})
}

const averagePrefix = "average."

// state lists the average's tensors.
func (a *average) state() (named []torch.Named) {
	if a != nil {
		for i, t := range a.values {
			named = append(named, torch.Named{Name: fmt.Sprint(averagePrefix, i), Tensor: t})
		}
	}
	return named
}

func (a *average) close() {
	if a != nil {
		closeAll(a.values)
	}
}
