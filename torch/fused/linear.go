package fused

import (
	"fmt"
	"runtime"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/internal/capi"
)

// Linear is torch.Linear, x [..., in] weight [out, in]^T + bias [out] (undefined for none), through oneDNN for float32
// on the CPU: twice as fast there as MKL on processors with AVX-512 that are not Intel's. On others it does so where autograd records
// nothing. Sums are taken in another order, so results differ from torch.Linear's in the last digits. It has first derivatives only.
func Linear(x, weight, bias torch.Tensor) torch.Tensor {
	return linear("linear", x, weight, bias, false)
}

// LinearGELU is GELU (by erf) of Linear, in one pass over the result where nothing is recorded.
func LinearGELU(x, weight, bias torch.Tensor) torch.Tensor {
	return linear("linear_gelu", x, weight, bias, true)
}

func linear(name string, x, weight, bias torch.Tensor, gelu bool) torch.Tensor {
	var b capi.Handle
	if bias.Defined() {
		b = native(bias, name)
	}
	in, w := native(x, name), native(weight, name)
	h, scope, err := capi.Linear(in, w, b, gelu)
	if err != nil {
		panic(failed(name, err, in, w, b))
	}
	runtime.KeepAlive(x)
	runtime.KeepAlive(weight)
	runtime.KeepAlive(bias)
	return adopt(h, scope)
}

// AlwaysOneDNN has layers that train go through oneDNN on every processor, for the whole process: for tests and measurements, as by
// default they do where that is faster. It gives what was said before.
func AlwaysOneDNN(always bool) (before bool) { return capi.AlwaysOneDNN(always) }

// LinearJoined is Linear of several layers that read the same x, their weights [out_i, in] and biases [out_i] one below
// the other: [..., sum of out_i]. It is one product.
func LinearJoined(x torch.Tensor, weights, biases []torch.Tensor) torch.Tensor {
	const name = "linear_joined"
	if len(weights) == 0 || len(weights) != len(biases) {
		panic(&torch.Error{Op: name, Msg: fmt.Sprintf("%d weights and %d biases: one of each is needed for every layer, "+
			"and one layer at least", len(weights), len(biases))})
	}
	in := native(x, name)
	w, b := make([]capi.Handle, len(weights)), make([]capi.Handle, len(weights))
	for i := range weights {
		w[i], b[i] = native(weights[i], name), native(biases[i], name)
	}
	h, scope, err := capi.LinearJoined(in, w, b)
	if err != nil {
		panic(failed(name, err, append([]capi.Handle{in}, w...)...))
	}
	runtime.KeepAlive(x)
	runtime.KeepAlive(weights)
	runtime.KeepAlive(biases)
	return adopt(h, scope)
}

// Fork gives x twice: as it is, for a residual, and as the layer beside that reads it, which under autocast on a GPU is
// x in autocast's dtype, and elsewhere x. Their gradients are added up at once, where autograd would first cast one.
func Fork(x torch.Tensor) (residual, input torch.Tensor) {
	in := native(x, "fork")
	a, b, scope, err := capi.AutocastFork(in)
	if err != nil {
		panic(failed("fork", err, in))
	}
	runtime.KeepAlive(x)
	return adopt(a, scope), adopt(b, scope)
}
