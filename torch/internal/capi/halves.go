package capi

/*
#include "capi.h"
*/
import "C"

// Halves are copies of parameters in the dtype of autocast.
type Halves uintptr

// NewHalves makes copies of tensors.
func NewHalves(of []Handle, dtype int64) (Halves, *Error) {
	var h C.thaw_halves
	err := failure(C.thaw_halves_new(handles(of), C.int64_t(len(of)), C.int32_t(dtype), &h))
	return Halves(h), err
}

// Enter puts the copies into use on the calling thread until the returned function runs on it.
func (h Halves) Enter() (exit func()) {
	C.thaw_halves_enter(C.thaw_halves(h))
	return func() { C.thaw_halves_exit() }
}

// Refresh copies anew.
func (h Halves) Refresh() *Error { return failure(C.thaw_halves_refresh(C.thaw_halves(h))) }

// Collect gives the copies' gradients to what they are copies of.
func (h Halves) Collect() *Error { return failure(C.thaw_halves_collect(C.thaw_halves(h))) }

// Free frees the copies.
func (h Halves) Free() { C.thaw_halves_free(C.thaw_halves(h)) }
