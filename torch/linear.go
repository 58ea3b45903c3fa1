package torch

import (
	"runtime"

	"github.com/thaw-ml/thaw/torch/internal/capi"
)

// FastLinear is Linear, x [..., in] weight [out, in]^T + bias [out] (undefined for none), through oneDNN for float32 on
// the CPU: twice as fast there as MKL on processors that are not Intel's. Sums are taken in another order, so results
// differ from Linear's in the last digits. It has first derivatives only.
func FastLinear(x, weight, bias Tensor) Tensor { return fastLinear("linear", x, weight, bias, false) }

// FastLinearGELU is GELU (by erf) of FastLinear, in one pass over the result where nothing is recorded.
func FastLinearGELU(x, weight, bias Tensor) Tensor {
	return fastLinear("linear_gelu", x, weight, bias, true)
}

func fastLinear(name string, x, weight, bias Tensor, gelu bool) Tensor {
	var b capi.Handle
	if bias.Defined() {
		b = bias.ptr(name)
	}
	h, scope, err := capi.Linear(x.ptr(name), weight.ptr(name), b, gelu)
	if err != nil {
		panic(failed(name, err, x.h.ptr(), weight.h.ptr(), b))
	}
	runtime.KeepAlive(x.h)
	runtime.KeepAlive(weight.h)
	runtime.KeepAlive(bias.h)
	return adopt(h, scope)
}

// FastLinearJoined is FastLinear of several layers that read the same x, their weights [out_i, in] and biases [out_i] one below
// the other: [..., sum of out_i]. It is one product.
func FastLinearJoined(x Tensor, weights, biases []Tensor) Tensor {
	if len(weights) == 0 || len(weights) != len(biases) {
		panic(&Error{Op: "linear_joined", Msg: sprintf("%d weights and %d biases: one of each is needed for every layer, and one layer at least", len(weights), len(biases))})
	}
	w, b := make([]capi.Handle, len(weights)), make([]capi.Handle, len(weights))
	for i := range weights {
		w[i], b[i] = weights[i].ptr("linear_joined"), biases[i].ptr("linear_joined")
	}
	h, scope, err := capi.LinearJoined(x.ptr("linear_joined"), w, b)
	if err != nil {
		panic(failed("linear_joined", err, append([]capi.Handle{x.h.ptr()}, w...)...))
	}
	runtime.KeepAlive(x.h)
	runtime.KeepAlive(weights)
	runtime.KeepAlive(biases)
	return adopt(h, scope)
}

// FastConv2d is Conv2d, x [N, in, H, W] with weight [out, in/groups, kernel height, kernel width] and bias [out] (undefined for
// none), that reads [Halves]. Strides, padding and dilation are of rows and of columns.
func FastConv2d(x, weight, bias Tensor, stride, padding, dilation [2]int, groups int) Tensor {
	var b capi.Handle
	if bias.Defined() {
		b = bias.ptr("aten::conv2d")
	}
	wide := func(of [2]int) [2]int64 { return [2]int64{int64(of[0]), int64(of[1])} }
	h, scope, err := capi.Conv2d(x.ptr("aten::conv2d"), weight.ptr("aten::conv2d"), b, wide(stride), wide(padding), wide(dilation), groups)
	if err != nil {
		panic(failed("aten::conv2d", err, x.h.ptr(), weight.h.ptr(), b))
	}
	runtime.KeepAlive(x.h)
	runtime.KeepAlive(weight.h)
	runtime.KeepAlive(bias.h)
	return adopt(h, scope)
}

// AutocastFork gives x twice: as it is, for a residual, and as the layer beside that reads it, which under autocast on a GPU
// is x in autocast's dtype, and elsewhere x. Their gradients are added up at once, where autograd would first cast one.
func AutocastFork(x Tensor) (residual, input Tensor) {
	a, b, scope, err := capi.AutocastFork(x.ptr("autocast_fork"))
	if err != nil {
		panic(failed("autocast_fork", err, x.h.ptr()))
	}
	runtime.KeepAlive(x.h)
	return adopt(a, scope), adopt(b, scope)
}
