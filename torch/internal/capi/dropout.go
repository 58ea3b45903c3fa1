package capi

/*
#include "capi.h"
*/
import "C"

// Dropout sets elements of x to 0 with probability p, scales the others by 1/(1-p), and adds plus, 0 being for none.
func Dropout(x, plus Handle, p float64) (Handle, int32, *Error) {
	var out C.thaw_tensor
	var scope C.int32_t
	err := failure(C.thaw_dropout(C.thaw_tensor(x), C.thaw_tensor(plus), C.double(p), &out, &scope))
	return Handle(out), int32(scope), err
}
