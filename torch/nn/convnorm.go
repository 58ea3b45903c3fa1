package nn

import (
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/fused"
)

// ConvNorm is a convolution and the norm behind it, plus a shortcut of the output's shape (undefined for none), and ReLU over it where
// relu is set. Where nothing is recorded for autograd and the norm is a batch norm that does not train, it is one kernel, see
// [fused.ConvNorm]; else it is one layer behind the other.
func ConvNorm(c *Conv2d, n Norm, x, shortcut torch.Tensor, relu bool) torch.Tensor {
	if numbers, ok := kept(n); ok && c.Adapter == nil {
		if y, ok := fused.ConvNorm(x, c.Weight, c.Bias, numbers, shortcut, relu, c.Stride, c.Padding, c.Dilation, c.Groups); ok {
			return y
		}
	}
	y := n.Forward(c.Forward(x))
	if shortcut.Defined() {
		y = y.Add_(shortcut)
	}
	if relu {
		y = y.ReLU_()
	}
	return y
}

// kept are the numbers of a batch norm that does not train.
func kept(n Norm) (numbers fused.Norm, ok bool) {
	switch n := n.(type) {
	case *BatchNorm:
		return fused.Norm{Weight: n.Weight, Bias: n.Bias, Mean: n.RunningMean, Var: n.RunningVar, Eps: n.Eps}, !n.training
	case *FrozenBatchNorm:
		return fused.Norm{Weight: n.Weight, Bias: n.Bias, Mean: n.RunningMean, Var: n.RunningVar, Eps: n.Eps}, true
	}
	return numbers, false
}
