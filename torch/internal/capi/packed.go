package capi

/*
#include "capi.h"
*/
import "C"

// PackedWeights are copies of weights in oneDNN's layout.
type PackedWeights uintptr

// NewPackedWeights keeps none yet.
func NewPackedWeights() (PackedWeights, *Error) {
	var h C.thaw_packed
	err := failure(C.thaw_packed_new(&h))
	return PackedWeights(h), err
}

// Enter has linear layers on the calling thread keep copies, and read them, until the returned function runs on it.
func (h PackedWeights) Enter() (exit func()) {
	before := C.thaw_packed_swap(C.thaw_packed(h))
	return func() { C.thaw_packed_swap(before) }
}

// Free frees the copies.
func (h PackedWeights) Free() { C.thaw_packed_free(C.thaw_packed(h)) }
