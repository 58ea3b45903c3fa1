package nn

import (
	"math"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/fused"
)

// Linear maps [..., in] to [..., out]: x W^T + b.
type Linear struct {
	Weight torch.Tensor `torch:"weight"` // [out, in]
	Bias   torch.Tensor `torch:"bias"`   // [out], or undefined

	Adapter Adapter `torch:""` // changes the output, or nil; its keys stand beside weight and bias
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
func (l *Linear) Forward(x torch.Tensor) torch.Tensor {
	return adapt(l.Adapter, x, fused.Linear(x, l.Weight, l.Bias))
}

// ForwardGELU is GELU (by erf) of Forward.
func (l *Linear) ForwardGELU(x torch.Tensor) torch.Tensor {
	if l.Adapter != nil {
		return l.Forward(x).GELU()
	}
	return fused.LinearGELU(x, l.Weight, l.Bias)
}

// AutocastParams gives the weight and the bias, which autocast rounds.
func (l *Linear) AutocastParams() []torch.Tensor { return []torch.Tensor{l.Weight, l.Bias} }

// Project gives what each of several layers makes of the same x [..., in]: [..., out] of each. On a GPU layers of one
// size, with biases and without adapters, are one product, which fills more of it, rounds x once and has one gradient
// to it in place of several to add up.
func Project(x torch.Tensor, layers ...*Linear) []torch.Tensor {
	if x.Device().Type != torch.CPUType && joinable(layers) {
		return projectJoined(x, layers)
	}
	out := make([]torch.Tensor, len(layers))
	for i, l := range layers {
		out[i] = l.Forward(x)
	}
	return out
}

func joinable(layers []*Linear) bool {
	for _, l := range layers {
		if l.Adapter != nil || !l.Bias.Defined() || l.Weight.Size(0) != layers[0].Weight.Size(0) {
			return false
		}
	}
	return len(layers) > 1
}

// projectJoined is Project by one product.
func projectJoined(x torch.Tensor, layers []*Linear) []torch.Tensor {
	var weights, biases []torch.Tensor
	for _, l := range layers {
		weights, biases = append(weights, l.Weight), append(biases, l.Bias)
	}
	return fused.LinearJoined(x, weights, biases).Chunk(len(layers), x.Dim()-1)
}
