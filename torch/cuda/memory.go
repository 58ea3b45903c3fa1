package cuda

import "github.com/thaw-ml/thaw/torch/internal/capi"

// MemoryStats count bytes on a device. The allocator keeps what tensors have freed, so that Reserved exceeds Allocated;
// its settings are PyTorch's, from the variable PYTORCH_CUDA_ALLOC_CONF (expandable_segments:True where shapes vary).
type MemoryStats struct {
	Allocated     int64 // in tensors
	AllocatedPeak int64 // the most since the start or ResetPeak
	Reserved      int64 // held by the allocator
	ReservedPeak  int64
	Allocations   int64 // blocks in use, about one a tensor
	Retries       int64 // times that all that was kept had to be given back to make room: each stops the device
	Free, Total   int64 // of the whole device, over all processes
}

// Memory reads the counters of a device.
func Memory(device int) (MemoryStats, error) {
	m, err := capi.CUDAMemoryStats(device)
	return MemoryStats(m), wrap("memory", err)
}

// ResetPeak starts the peaks of a device anew from what is held now.
func ResetPeak(device int) error { return wrap("memory", capi.ResetCUDAPeak(device)) }

// EmptyCache gives what no tensor uses back to the driver. It waits for the devices; other programs gain by it, this one
// does not.
func EmptyCache() error { return wrap("memory", capi.EmptyCUDACache()) }
