//go:build cuda

package capi

/*
#cgo CXXFLAGS: -I${SRCDIR}/cudalibs
#include "capi_cuda.h"
*/
import "C"

import "time"

// NewNCCLGroup joins a group of NCCL with a GPU.
func NewNCCLGroup(s Store, rank, size, device int, timeout time.Duration) (Group, *Error) {
	var out C.thaw_group
	err := failure(C.thaw_group_new_nccl(C.thaw_store(s), C.int32_t(rank), C.int32_t(size), C.int32_t(device), milliseconds(timeout), &out))
	return Group(out), err
}

// AbortNCCL ends what a group of NCCL has queued on the GPU and waits for ranks that will not come.
func (g Group) AbortNCCL() *Error { return failure(C.thaw_group_abort_nccl(C.thaw_group(g))) }
