//go:build cuda

package capi

/*
#include <stdlib.h>
#include "capi_cuda.h"
*/
import "C"

import "unsafe"

// CUDAMemoryStats reads the counters of a device.
func CUDAMemoryStats(device int) (CUDAMemory, *Error) {
	var m C.thaw_cuda_memory
	err := failure(C.thaw_cuda_memory_stats(C.int32_t(device), &m))
	return CUDAMemory{int64(m.allocated), int64(m.allocated_peak), int64(m.reserved), int64(m.reserved_peak),
		int64(m.allocations), int64(m.retries), int64(m.device_allocations), int64(m.free), int64(m.total)}, err
}

// ResetCUDAPeak starts the peaks anew from what is held now.
func ResetCUDAPeak(device int) *Error {
	return failure(C.thaw_cuda_memory_reset_peak(C.int32_t(device)))
}

// EmptyCUDACache gives what no tensor uses back to the driver.
func EmptyCUDACache() *Error { return failure(C.thaw_cuda_memory_empty_cache()) }

// DropCUDAWorkspaces frees the workspaces that cuBLAS keeps for each thread and stream.
func DropCUDAWorkspaces() *Error { return failure(C.thaw_cuda_memory_drop_workspaces()) }

// SetCUDAMemoryFraction limits what the allocator takes of a device.
func SetCUDAMemoryFraction(device int, fraction float64) *Error {
	return failure(C.thaw_cuda_memory_set_fraction(C.int32_t(device), C.double(fraction)))
}

// ConfigureCUDAAllocator changes settings, written as in PYTORCH_ALLOC_CONF.
func ConfigureCUDAAllocator(settings string) *Error {
	s := C.CString(settings)
	defer C.free(unsafe.Pointer(s))
	return failure(C.thaw_cuda_memory_configure(s))
}
