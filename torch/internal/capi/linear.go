package capi

/*
#include "capi.h"
*/
import "C"

// Linear is x weight^T + bias, bias being 0 for none, and GELU over it where asked.
func Linear(x, weight, bias Handle, gelu bool) (Handle, int32, *Error) {
	var out C.thaw_tensor
	var scope C.int32_t
	err := failure(C.thaw_linear(C.thaw_tensor(x), C.thaw_tensor(weight), C.thaw_tensor(bias), flag(gelu), &out, &scope))
	return Handle(out), int32(scope), err
}

// AlwaysOneDNN says, for the whole process, whether layers that train go through oneDNN on every processor. It gives what was
// said before.
func AlwaysOneDNN(always bool) bool { return C.thaw_always_onednn(flag(always)) != 0 }

// AutocastFork is x and x in the dtype of autocast; x twice where there is none on its device.
func AutocastFork(x Handle) (residual, input Handle, scope int32, err *Error) {
	var a, b C.thaw_tensor
	var s C.int32_t
	err = failure(C.thaw_autocast_fork(C.thaw_tensor(x), &a, &b, &s))
	return Handle(a), Handle(b), int32(s), err
}

// LinearJoined is Linear of layers one below the other, each with a bias.
func LinearJoined(x Handle, weights, biases []Handle) (Handle, int32, *Error) {
	var out C.thaw_tensor
	var scope C.int32_t
	err := failure(C.thaw_linear_joined(C.thaw_tensor(x), handles(weights), handles(biases),
		C.int64_t(len(weights)), &out, &scope))
	return Handle(out), int32(scope), err
}
