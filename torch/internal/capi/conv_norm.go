package capi

/*
#include "capi.h"
*/
import "C"

// ConvNorm is a convolution and the batch norm behind it (weight, bias, mean and variance), plus a shortcut (0: none), and ReLU where
// asked, in one; 0 where that cannot be.
func ConvNorm(
	x, weight, bias Handle, norm [4]Handle, eps float64, shortcut Handle, relu bool, stride, padding, dilation [2]int64, groups int,
) (Handle, int32, *Error) {
	var out C.thaw_tensor
	var scope C.int32_t
	err := failure(C.thaw_conv_norm(C.thaw_tensor(x), C.thaw_tensor(weight), C.thaw_tensor(bias), handles(norm[:]), C.double(eps),
		C.thaw_tensor(shortcut), flag(relu), (*C.int64_t)(&stride[0]), (*C.int64_t)(&padding[0]), (*C.int64_t)(&dilation[0]),
		C.int64_t(groups), &out, &scope))
	return Handle(out), int32(scope), err
}

// FoldsNorms reports whether ConvNorm may be.
func FoldsNorms() bool { return C.thaw_fold(-1) != 0 }

// FoldNorms says for the whole process whether ConvNorm may be, and gives what was said before.
func FoldNorms(on bool) bool { return C.thaw_fold(flag(on)) != 0 }
