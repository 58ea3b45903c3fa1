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
