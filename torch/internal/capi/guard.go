package capi

/*
#include "capi.h"
*/
import "C"

import "unsafe"

// GradMode reports whether the calling thread records for autograd.
func GradMode() bool { return C.thaw_grad_mode() != 0 }

// SetGradMode sets it.
func SetGradMode(on bool) { C.thaw_grad_mode_set(flag(on)) }

// SwapThreadLimit sets how many threads the operators of the calling thread may use, and gives the number before.
func SwapThreadLimit(n int) int { return int(C.thaw_swap_thread_limit(C.int32_t(n))) }

// EnterInference puts the calling thread into inference mode until the returned function runs on it.
func EnterInference() (exit func(), err *Error) {
	var g C.thaw_guard
	if err := failure(C.thaw_inference_enter(&g)); err != nil {
		return nil, err
	}
	return func() { C.thaw_inference_exit(g) }, nil
}

// EnterAutocast switches autocast for a device type on or off on the calling thread until the returned function runs
// on it.
func EnterAutocast(deviceType, dtype int64, on bool) (exit func(), err *Error) {
	prev := new([3]int64)
	p := (*C.int64_t)(unsafe.Pointer(prev))
	if err := failure(C.thaw_autocast_enter(C.int32_t(deviceType), C.int32_t(dtype), flag(on), p)); err != nil {
		return nil, err
	}
	return func() { C.thaw_autocast_exit(C.int32_t(deviceType), p) }, nil
}
