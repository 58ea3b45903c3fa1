package fused

import (
	"runtime"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/internal/capi"
)

// Norm is what a batch norm that does not train multiplies by and adds: weight, bias, running mean and variance, [C] each.
type Norm struct {
	Weight, Bias, Mean, Var torch.Tensor
	Eps                     float64
}

// ConvNorm is a convolution (see [Conv2d]; nothing reads [ShadowParams]) and the batch norm behind it, plus shortcut, of the output's
// shape (undefined for none), and ReLU over it where relu is set: the norm goes into the weights, and the rest into oneDNN's
// convolution, so that no other pass goes over the output. ok is false, and nothing is done, where that cannot be: where something is
// recorded for autograd, for an output of fewer than 1024 places (samples times height times width), on a GPU, in dtypes other than
// float32 (and bfloat16 by autocast), and where [FoldNorms] says so. Against the layers one by one the last digits differ: by 1e-6 of the largest number in float32.
func ConvNorm(
	x, weight, bias torch.Tensor, norm Norm, shortcut torch.Tensor, relu bool, stride, padding, dilation [2]int, groups int,
) (y torch.Tensor, ok bool) {
	const name = "conv_norm"
	var b, s capi.Handle
	if bias.Defined() {
		b = native(bias, name)
	}
	if shortcut.Defined() {
		s = native(shortcut, name)
	}
	in, w := native(x, name), native(weight, name)
	parts := [4]capi.Handle{native(norm.Weight, name), native(norm.Bias, name), native(norm.Mean, name), native(norm.Var, name)}
	h, scope, err := capi.ConvNorm(in, w, b, parts, norm.Eps, s, relu, wide(stride), wide(padding), wide(dilation), groups)
	if err != nil {
		panic(failed(name, err, in, w, b))
	}
	for _, t := range []torch.Tensor{x, weight, bias, norm.Weight, norm.Bias, norm.Mean, norm.Var, shortcut} {
		runtime.KeepAlive(t)
	}
	if h == 0 {
		return y, false
	}
	return adopt(h, scope), true
}

// FoldsNorms reports whether [ConvNorm] may be.
func FoldsNorms() bool { return capi.FoldsNorms() }

// FoldNorms says for the whole process whether [ConvNorm] may be, and gives what was said before.
func FoldNorms(on bool) bool { return capi.FoldNorms(on) }
