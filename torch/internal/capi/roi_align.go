package capi

/*
#include "capi.h"
*/
import "C"

// RoIAlign reads regions [K, 5] of feature maps [N, C, H, W] on the CPU: [K, C, rows, columns].
func RoIAlign(x, rois Handle, scale float64, rows, columns, sampling int, aligned bool) (Handle, int32, *Error) {
	var out C.thaw_tensor
	var scope C.int32_t
	err := failure(C.thaw_roi_align(C.thaw_tensor(x), C.thaw_tensor(rois), C.double(scale), C.int64_t(rows), C.int64_t(columns),
		C.int64_t(sampling), flag(aligned), &out, &scope))
	return Handle(out), int32(scope), err
}
