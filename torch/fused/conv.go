package fused

import (
	"runtime"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/internal/capi"
)

// Conv2d is torch.Conv2d, x [N, in, H, W] with weight [out, in/groups, kernel height, kernel width] and bias [out]
// (undefined for none), that reads [ShadowParams]. Strides, padding and dilation are of rows and of columns.
func Conv2d(x, weight, bias torch.Tensor, stride, padding, dilation [2]int, groups int) torch.Tensor {
	const name = "aten::conv2d"
	var b capi.Handle
	if bias.Defined() {
		b = native(bias, name)
	}
	in, w := native(x, name), native(weight, name)
	wide := func(of [2]int) [2]int64 { return [2]int64{int64(of[0]), int64(of[1])} }
	h, scope, err := capi.Conv2d(in, w, b, wide(stride), wide(padding), wide(dilation), groups)
	if err != nil {
		panic(failed(name, err, in, w, b))
	}
	runtime.KeepAlive(x)
	runtime.KeepAlive(weight)
	runtime.KeepAlive(bias)
	return adopt(h, scope)
}
