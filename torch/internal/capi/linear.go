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
