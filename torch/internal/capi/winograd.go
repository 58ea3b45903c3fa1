package capi

/*
#include "capi.h"
*/
import "C"

// Conv2d is a convolution, bias being 0 for none; of rows and of columns.
func Conv2d(x, weight, bias Handle, stride, padding, dilation [2]int64, groups int) (Handle, int32, *Error) {
	var out C.thaw_tensor
	var scope C.int32_t
	err := failure(C.thaw_conv2d(C.thaw_tensor(x), C.thaw_tensor(weight), C.thaw_tensor(bias), (*C.int64_t)(&stride[0]),
		(*C.int64_t)(&padding[0]), (*C.int64_t)(&dilation[0]), C.int64_t(groups), &out, &scope))
	return Handle(out), int32(scope), err
}

// When 3 x 3 convolutions go by Winograd's filtering.
const (
	NeverWinograd  = 0
	FastWinograd   = 1 // where it was measured to be faster
	AlwaysWinograd = 2 // wherever it can be
)

// UseWinograd says when, for the whole process, and gives what was said before.
func UseWinograd(when int) int { return int(C.thaw_winograd(C.int32_t(when))) }
