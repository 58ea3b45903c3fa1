package capi

// The Go side of capi_cuda.h is in two versions: cuda_*.go with the build tag cuda, cuda_none.go without, where every
// function fails with NoCUDA.

// NoCUDA says how to get a program with CUDA.
const NoCUDA = "this program has no CUDA: build it with -tags cuda after make deps-cuda"

// CUDAProperties describe a device.
type CUDAProperties struct {
	Name                                      string
	TotalMemory, Major, Minor, Multiprocessor int64
}

// CUDAVersions are versions as CUDA, cuDNN and NCCL number themselves, 0 for none.
type CUDAVersions struct{ Driver, Runtime, CuDNN, NCCL int64 }

// CUDASwitches are settings of the whole process.
type CUDASwitches struct{ TF32, ConvTF32, CuDNNAttention, Benchmark, Deterministic bool }

// CUDAMemory counts what the caching allocator holds on a device.
type CUDAMemory struct {
	Allocated, AllocatedPeak, Reserved, ReservedPeak int64
	Allocations, Retries, DeviceAllocations          int64
	Free, Total                                      int64
}

// CUDAStream is a stream of libtorch's pool, or a device's default one; as thaw_cuda_stream lays it out.
type CUDAStream struct{ ID, Device int64 }

// CUDAEvent is an event that its holder owns.
type CUDAEvent uintptr

// CUDAGraph is a graph that its holder owns.
type CUDAGraph uintptr
