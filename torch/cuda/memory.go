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
	// DeviceAllocations is the times that memory was asked of the driver, which takes long; it stands still where what
	// is kept suffices.
	DeviceAllocations int64
	Free, Total       int64 // of the whole device, over all processes
}

// Memory reads the counters of a device.
func Memory(device int) (MemoryStats, error) {
	m, err := capi.CUDAMemoryStats(device)
	return MemoryStats(m), wrap("memory", err)
}

// ResetPeak starts the peaks of a device anew from what is held now.
func ResetPeak(device int) error { return wrap("memory", capi.ResetCUDAPeak(device)) }

// EmptyCache gives what no tensor uses back to the driver. It waits for the devices. Other programs gain by it; this
// one does before a capture, in which the allocator cannot do it where memory runs short.
func EmptyCache() error { return wrap("memory", capi.EmptyCUDACache()) }

// DropWorkspaces frees the memory that cuBLAS keeps for its products, 32 MiB on an H100 for each pair of a thread and a
// stream that made one, as long as the process runs. They are made again when they are needed. It is for all devices;
// no product may be under way, and graphs that were captured before, which write to that memory, must not be replayed
// any more.
func DropWorkspaces() error { return wrap("memory", capi.DropCUDAWorkspaces()) }

// SetMemoryFraction limits what this process takes of a device to a share, from 0 to 1, of all its memory. What it has
// already stays; what is asked for beyond is out of memory, as if the device were so small.
func SetMemoryFraction(device int, fraction float64) error {
	return wrap("memory", capi.SetCUDAMemoryFraction(device, fraction))
}

// ConfigureAllocator changes settings of the caching allocator, for all devices, written as in PyTorch's environment
// variable PYTORCH_ALLOC_CONF, which libtorch reads too: "expandable_segments:True,garbage_collection_threshold:0.8".
// What is not named stays as it was. Settings count for memory that is asked for later; some only before the first
// (https://docs.pytorch.org/docs/2.11/notes/cuda.html#optimizing-memory-usage-with-pytorch-alloc-conf).
func ConfigureAllocator(settings string) error {
	return wrap("memory", capi.ConfigureCUDAAllocator(settings))
}
