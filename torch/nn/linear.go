package nn

import (
	"math"

	"github.com/thaw-ml/thaw/torch"
)

// Linear maps [..., in] to [..., out]: x W^T + b.
type Linear struct {
	Weight torch.Tensor `torch:"weight"` // [out, in]
	Bias   torch.Tensor `torch:"bias"`   // [out], or undefined
}

// LinearOptions are what a Linear may have beside its size.
type LinearOptions struct {
	NoBias bool
}

// EmptyLinear makes a layer with memory but no values, to be loaded. The parameters live until Close.
func EmptyLinear(in, out int, o LinearOptions) *Linear {
	l := &Linear{Weight: Empty(out, in)}
	if !o.NoBias {
		l.Bias = Empty(out)
	}
	return l
}

// NewLinear makes a layer as Init draws it.
func NewLinear(in, out int, o LinearOptions, g *torch.Generator) *Linear {
	l := EmptyLinear(in, out, o)
	l.Init(g)
	return l
}

// Init draws the parameters from ±1/sqrt(in), PyTorch's default.
func (l *Linear) Init(g *torch.Generator) {
	bound := 1 / math.Sqrt(float64(fanIn(l.Weight)))
	draw(l.Weight, func(w torch.Tensor) { w.Uniform_(-bound, bound, g) })
	if l.Bias.Defined() {
		draw(l.Bias, func(b torch.Tensor) { b.Uniform_(-bound, bound, g) })
	}
}

// Forward maps [..., in] to [..., out].
func (l *Linear) Forward(x torch.Tensor) torch.Tensor { return torch.FastLinear(x, l.Weight, l.Bias) }

// ForwardGELU is GELU (by erf) of Forward.
func (l *Linear) ForwardGELU(x torch.Tensor) torch.Tensor {
	return torch.FastLinearGELU(x, l.Weight, l.Bias)
}
