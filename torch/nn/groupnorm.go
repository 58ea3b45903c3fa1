package nn

import "github.com/thaw-ml/thaw/torch"

// GroupNorm normalises [N, C, ...] over the channels of a group and all places, for each sample by itself (Wu and He 2018).
// Keys are PyTorch's.
type GroupNorm struct {
	Weight torch.Tensor `torch:"weight"` // [C]
	Bias   torch.Tensor `torch:"bias"`   // [C]

	Groups int     // they divide C
	Eps    float64 // 1e-5 in PyTorch
}

// EmptyGroupNorm makes the layer with memory but no values, to be loaded.
func EmptyGroupNorm(groups, channels int) *GroupNorm {
	return &GroupNorm{Weight: Empty(channels), Bias: Empty(channels), Groups: groups, Eps: 1e-5}
}

// Init sets the weight to 1 and the bias to 0.
func (g *GroupNorm) Init() {
	torch.NoGrad(func() {
		g.Weight.Fill_(1)
		g.Bias.Zero_()
	})
}

// Forward keeps the shape and memory format of x.
func (g *GroupNorm) Forward(x torch.Tensor) torch.Tensor {
	return torch.GroupNorm(x, g.Groups, g.Weight, g.Bias, g.Eps)
}
