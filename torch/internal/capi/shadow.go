package capi

/*
#include "capi.h"
*/
import "C"

// ShadowParams are copies of parameters in the dtype of autocast.
type ShadowParams uintptr

// NewShadowParams makes copies of tensors.
func NewShadowParams(of []Handle, dtype int64) (ShadowParams, *Error) {
	var h C.thaw_shadow
	err := failure(C.thaw_shadow_new(handles(of), C.int64_t(len(of)), C.int32_t(dtype), &h))
	return ShadowParams(h), err
}

// Enter puts the copies into use on the calling thread until the returned function runs on it.
func (h ShadowParams) Enter() (exit func()) {
	C.thaw_shadow_enter(C.thaw_shadow(h))
	return func() { C.thaw_shadow_exit() }
}

// Refresh copies anew.
func (h ShadowParams) Refresh() *Error { return failure(C.thaw_shadow_refresh(C.thaw_shadow(h))) }

// Collect gives the copies' gradients to what they are copies of.
func (h ShadowParams) Collect() *Error { return failure(C.thaw_shadow_collect(C.thaw_shadow(h))) }

// Free frees the copies.
func (h ShadowParams) Free() { C.thaw_shadow_free(C.thaw_shadow(h)) }
