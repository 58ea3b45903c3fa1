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

// NewLinear makes a layer whose parameters are uniform in ±1/sqrt(in), PyTorch's default. The parameters live until Close.
func NewLinear(in, out int, bias bool, g *torch.Generator) *Linear {
	l := &Linear{Weight: Empty(out, in)}
	if bias {
		l.Bias = Empty(out)
	}
	l.Init(g)
	return l
}

// Init draws the parameters anew, from ±1/sqrt(in).
func (l *Linear) Init(g *torch.Generator) {
	bound := 1 / math.Sqrt(float64(fanIn(l.Weight)))
	draw(l.Weight, func(w torch.Tensor) { w.Uniform_(-bound, bound, g) })
	if l.Bias.Defined() {
		draw(l.Bias, func(b torch.Tensor) { b.Uniform_(-bound, bound, g) })
	}
}

// EmptyLinear makes a layer with memory but no values, to be loaded.
func EmptyLinear(in, out int) *Linear { return &Linear{Weight: Empty(out, in), Bias: Empty(out)} }

// Forward maps [..., in] to [..., out].
func (l *Linear) Forward(x torch.Tensor) torch.Tensor { return torch.FastLinear(x, l.Weight, l.Bias) }

// ForwardGELU is GELU (by erf) of Forward.
func (l *Linear) ForwardGELU(x torch.Tensor) torch.Tensor {
	return torch.FastLinearGELU(x, l.Weight, l.Bias)
}
