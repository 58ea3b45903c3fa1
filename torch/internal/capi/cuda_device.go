//go:build cuda

package capi

/*
#cgo CXXFLAGS: -Wno-interference-size
#cgo CXXFLAGS: -I${SRCDIR}/../../../third_party/libtorch/include/cuda
#cgo CXXFLAGS: -I${SRCDIR}/../../../../thaw-libtorch-2.11.0/include/cuda
#cgo LDFLAGS: -Wl,--no-as-needed -ltorch_cuda -lc10_cuda -l:libcudart.so.13
#include "capi_cuda.h"
*/
import "C"

// CUDABuilt reports whether the program was built with -tags cuda.
const CUDABuilt = true

// StartCUDA starts CUDA in this process; it fails, saying why, where no device answers.
func StartCUDA() *Error { return failure(C.thaw_cuda_start()) }

// CUDADevices is the number of devices, at least 1.
func CUDADevices() (int, *Error) {
	var n C.int32_t
	err := failure(C.thaw_cuda_device_count(&n))
	return int(n), err
}

// CUDADeviceProperties describes a device.
func CUDADeviceProperties(device int) (CUDAProperties, *Error) {
	var p C.thaw_cuda_properties
	if err := failure(C.thaw_cuda_device_properties(C.int32_t(device), &p)); err != nil {
		return CUDAProperties{}, err
	}
	return CUDAProperties{C.GoString(&p.name[0]), int64(p.total_memory), int64(p.major), int64(p.minor),
		int64(p.multiprocessors)}, nil
}

// FindCUDAVersions needs no device.
func FindCUDAVersions() (CUDAVersions, *Error) {
	var v C.thaw_cuda_versions_info
	err := failure(C.thaw_cuda_versions(&v))
	return CUDAVersions{int64(v.driver), int64(v.runtime), int64(v.cudnn), int64(v.nccl)}, err
}

// SynchronizeCUDA waits for all that the device was given.
func SynchronizeCUDA(device int) *Error { return failure(C.thaw_cuda_synchronize(C.int32_t(device))) }

// SwapCUDADevice makes a device the calling thread's current one and returns the one before.
func SwapCUDADevice(device int) (int, *Error) {
	var before C.int32_t
	err := failure(C.thaw_cuda_device_swap(C.int32_t(device), &before))
	return int(before), err
}

// CUDAGenerator is the generator that operators on a device use when they are given none.
func CUDAGenerator(device int) (Generator, *Error) {
	var g C.thaw_generator
	err := failure(C.thaw_cuda_generator(C.int32_t(device), &g))
	return Generator(g), err
}

// GetCUDASwitches reads the settings.
func GetCUDASwitches() (CUDASwitches, *Error) {
	var s C.thaw_cuda_switches
	err := failure(C.thaw_cuda_switches_get(&s))
	return CUDASwitches{s.tf32 != 0, s.conv_tf32 != 0, s.cudnn_attention != 0, s.benchmark != 0, s.deterministic != 0}, err
}

// SetCUDASwitches changes them.
func SetCUDASwitches(s CUDASwitches) *Error {
	c := C.thaw_cuda_switches{tf32: flag(s.TF32), conv_tf32: flag(s.ConvTF32), cudnn_attention: flag(s.CuDNNAttention),
		benchmark: flag(s.Benchmark), deterministic: flag(s.Deterministic)}
	return failure(C.thaw_cuda_switches_set(&c))
}
