package capi

/*
#include "capi.h"
*/
import "C"

import "unsafe"

// Info describes a tensor, as thaw_tensor_info lays it out.
type Info struct {
	Dim, Numel, ItemSize, StorageBytes int64
	DType, DeviceType, DeviceIndex     int64
	contiguous, requiresGrad, leaf     int64
	Layout                             int64
	Version                            uint64
	Data                               unsafe.Pointer
	sizes, strides                     [64]int64
}

// Contiguous reports whether the elements lie in row-major order without gaps.
func (i *Info) Contiguous() bool { return i.contiguous != 0 }

// RequiresGrad reports whether autograd records what is done with the tensor.
func (i *Info) RequiresGrad() bool { return i.requiresGrad != 0 }

// Leaf reports whether no recorded operator made the tensor.
func (i *Info) Leaf() bool { return i.leaf != 0 }

// Sizes are the lengths along each dimension.
func (i *Info) Sizes() []int64 { return i.sizes[:i.Dim] }

// Strides are the steps, in elements, along each dimension.
func (i *Info) Strides() []int64 { return i.strides[:i.Dim] }

// Describe fills info.
func Describe(t Handle, info *Info) *Error {
	return failure(C.thaw_tensor_describe(C.thaw_tensor(t), (*C.thaw_tensor_info)(unsafe.Pointer(info))))
}

// Dim is the number of dimensions.
func Dim(t Handle) int { return int(C.thaw_tensor_ndim(C.thaw_tensor(t))) }

// Sizes appends the lengths along each dimension to dst, which must have room for them.
func Sizes(t Handle, dst []int64) {
	C.thaw_tensor_sizes(C.thaw_tensor(t), (*C.int64_t)(unsafe.Pointer(unsafe.SliceData(dst))))
}

// FromBytes makes a tensor in the CPU's memory with a copy of data.
func FromBytes(data unsafe.Pointer, nbytes int, dtype int64, sizes []int64) (Handle, int32, *Error) {
	var t C.thaw_tensor
	var scope C.int32_t
	err := failure(C.thaw_tensor_from_bytes(data, C.int64_t(nbytes), C.int64_t(dtype),
		(*C.int64_t)(unsafe.Pointer(unsafe.SliceData(sizes))), C.int64_t(len(sizes)), &t, &scope))
	return Handle(t), int32(scope), err
}

// FromBlob makes a tensor over memory outside Go's heap that must stay for as long as the tensor lives.
func FromBlob(data unsafe.Pointer, dtype int64, sizes []int64) (Handle, int32, *Error) {
	var t C.thaw_tensor
	var scope C.int32_t
	err := failure(C.thaw_tensor_from_blob(data, C.int64_t(dtype),
		(*C.int64_t)(unsafe.Pointer(unsafe.SliceData(sizes))), C.int64_t(len(sizes)), &t, &scope))
	return Handle(t), int32(scope), err
}

// ElementMemory gives the memory of a contiguous tensor on the CPU.
func ElementMemory(h Handle) (data unsafe.Pointer, n int, err *Error) {
	var size C.int64_t
	err = failure(C.thaw_tensor_memory(C.thaw_tensor(h), &data, &size))
	return data, int(size), err
}

// ToBytes copies the elements in row-major order to dst.
func ToBytes(t Handle, dst unsafe.Pointer, nbytes int) *Error {
	return failure(C.thaw_tensor_to_bytes(C.thaw_tensor(t), dst, C.int64_t(nbytes)))
}

// Share makes another owner of the same tensor.
func Share(t Handle) Handle { return Handle(C.thaw_tensor_share(C.thaw_tensor(t))) }

// Digest is a 64-bit digest of the elements' bytes.
func Digest(t Handle) (uint64, *Error) {
	var d C.uint64_t
	err := failure(C.thaw_tensor_digest(C.thaw_tensor(t), &d))
	return uint64(d), err
}

// Free gives up one reference to each tensor; 0 is skipped.
func Free(t []Handle) { C.thaw_tensors_free(handles(t), C.int64_t(len(t))) }
