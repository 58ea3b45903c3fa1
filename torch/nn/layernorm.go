package nn

import "github.com/thaw-ml/thaw/torch"

// LayerNorm normalises the last dimension (Ba et al. 2016).
type LayerNorm struct {
	Weight torch.Tensor `torch:"weight"` // [dim]
	Bias   torch.Tensor `torch:"bias"`   // [dim]
	Eps    float64      // 1e-5 in PyTorch, 1e-12 in BERT
}

// NewLayerNorm makes the layer with weight 1 and bias 0.
func NewLayerNorm(dim int, eps float64) *LayerNorm {
	return &LayerNorm{Weight: Constant(1, dim), Bias: Constant(0, dim), Eps: eps}
}

// Forward keeps the shape of x [..., dim].
func (l *LayerNorm) Forward(x torch.Tensor) torch.Tensor {
	var dim [1]int
	dim[0] = x.Size(-1)
	return torch.LayerNorm(x, dim[:], l.Weight, l.Bias, l.Eps)
}
