package fused

import (
	"runtime"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/internal/capi"
)

// Conv2d is torch.Conv2d, x [N, in, H, W] with weight [out, in/groups, kernel height, kernel width] and bias [out]
// (undefined for none), that reads [ShadowParams]. Strides, padding and dilation are of rows and of columns.
//
// On the CPU, in float32 and channels-last, a 3 x 3 convolution of stride 1 and padding 1 goes by Winograd's minimal filtering,
// forward and backward, where that is faster: on Intel's processors with AVX-512, of 64 channels or more
// (docs/decisions/023-winograd.md). It multiplies a quarter as often and rounds about twice as coarsely as a direct convolution
// in float32, as cuDNN's do; second derivatives are an error there. See [UseWinograd].
func Conv2d(x, weight, bias torch.Tensor, stride, padding, dilation [2]int, groups int) torch.Tensor {
	const name = "aten::conv2d"
	var b capi.Handle
	if bias.Defined() {
		b = native(bias, name)
	}
	in, w := native(x, name), native(weight, name)
	h, scope, err := capi.Conv2d(in, w, b, wide(stride), wide(padding), wide(dilation), groups)
	if err != nil {
		panic(failed(name, err, in, w, b))
	}
	runtime.KeepAlive(x)
	runtime.KeepAlive(weight)
	runtime.KeepAlive(bias)
	return adopt(h, scope)
}

func wide(of [2]int) [2]int64 { return [2]int64{int64(of[0]), int64(of[1])} }

// Winograd says when convolutions of 3 x 3 go by Winograd's filtering, see [Conv2d].
type Winograd int

// The choices; the environment's THAW_WINOGRAD, "never", "fast" or "always", is the first one.
const (
	WinogradNever  Winograd = capi.NeverWinograd
	WinogradFast   Winograd = capi.FastWinograd   // where it was measured to be faster; the default
	WinogradAlways Winograd = capi.AlwaysWinograd // wherever it can be: with AVX-512, or AVX2 and FMA
)

// UseWinograd makes a choice for the whole process and gives the one before.
func UseWinograd(when Winograd) Winograd { return Winograd(capi.UseWinograd(int(when))) }
