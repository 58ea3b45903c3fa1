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
	bound := 1 / math.Sqrt(float64(in))
	l := &Linear{Weight: Uniform(-bound, bound, g, out, in)}
	if bias {
		l.Bias = Uniform(-bound, bound, g, out)
	}
	return l
}

// EmptyLinear makes a layer with memory but no values, to be loaded.
func EmptyLinear(in, out int) *Linear { return &Linear{Weight: Empty(out, in), Bias: Empty(out)} }

// Forward maps [..., in] to [..., out].
func (l *Linear) Forward(x torch.Tensor) torch.Tensor { return torch.FastLinear(x, l.Weight, l.Bias) }

// ForwardGELU is GELU (by erf) of Forward.
func (l *Linear) ForwardGELU(x torch.Tensor) torch.Tensor {
	return torch.FastLinearGELU(x, l.Weight, l.Bias)
}
