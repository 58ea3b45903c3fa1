// Package cuda drives NVIDIA GPUs: what devices there are, their memory, streams, events and graphs.
//
// A program has CUDA when it was built with -tags cuda. In any other, and where no driver or device answers,
// [Available] is false and every function returns an [*Error] that says what is missing and how to fix it; none panics.
// Tensors go to a device by themselves: [torch.CUDA], [torch.Tensor.ToDevice].
//
// # Threads
//
// The current device and the current stream belong to an operating system thread. The functions that set them run
// another function with its goroutine pinned to its thread, as the guards of package torch do, and put back what was.
// Goroutines that the function starts are outside.
//
// # Copies that overlap
//
// A copy from the CPU runs beside the kernels only when it comes from pinned memory, does not wait, and is on a stream
// of its own:
//
//	pinned := batch.PinMemory()            // in memory that the GPU reads by itself
//	cuda.WithStream(side, func() {
//		static.CopyAsync_(pinned)          // returns at once
//		ready.Record(side)
//	})
//	ready.Block(compute)                   // what compute is given from now on sees the batch
//
// The pinned tensor must stay as it is until the event has happened. The destination should be a tensor made once and
// used for every batch: one that is freed while another stream still reads it may be handed out again too early.
package cuda

import (
	"runtime"
	"strconv"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/internal/capi"
)

// Current stands for the calling thread's current device wherever a function takes a device's index.
const Current = -1

// Built reports whether the program was built with -tags cuda.
func Built() bool { return capi.CUDABuilt }

// Available reports whether at least one device answers. [Check] says why not.
func Available() bool { return Check() == nil }

// Check is nil when at least one device answers, and otherwise says what is missing.
func Check() error {
	return wrap("start", capi.StartCUDA())
}

// Version is a version of a library; the zero Version stands for none.
type Version struct{ Major, Minor, Patch int }

func (v Version) String() string {
	if v == (Version{}) {
		return "none"
	}
	s := strconv.Itoa(v.Major) + "." + strconv.Itoa(v.Minor)
	if v.Patch != 0 {
		s += "." + strconv.Itoa(v.Patch)
	}
	return s
}

// Versions are those of the libraries that the program runs with.
type Versions struct {
	Driver  Version // the newest CUDA that the driver supports; none without a driver
	Runtime Version // CUDA's runtime
	CuDNN   Version // what is loaded
	NCCL    Version // what libtorch was built with
}

// FindVersions needs a program with CUDA, but neither a driver nor a device.
func FindVersions() (Versions, error) {
	v, err := capi.FindCUDAVersions()
	if err != nil {
		return Versions{}, wrap("versions", err)
	}
	return Versions{
		Driver:  Version{int(v.Driver / 1000), int(v.Driver % 1000 / 10), 0},
		Runtime: Version{int(v.Runtime / 1000), int(v.Runtime % 1000 / 10), 0},
		CuDNN:   Version{int(v.CuDNN / 10000), int(v.CuDNN % 10000 / 100), int(v.CuDNN % 100)},
		NCCL:    Version{int(v.NCCL >> 32), int(v.NCCL >> 16 & 0xffff), int(v.NCCL & 0xffff)},
	}, nil
}

// Properties describe a device.
type Properties struct {
	Index             int
	Name              string // as in "NVIDIA H100 80GB HBM3"
	TotalMemory       int64  // bytes
	ComputeCapability Version
	Multiprocessors   int
}

// Devices describes every device that this process sees, in order. Where none answers it fails.
func Devices() ([]Properties, error) {
	n, err := capi.CUDADevices()
	if err != nil {
		return nil, wrap("devices", err)
	}
	devices := make([]Properties, n)
	for i := range devices {
		p, err := capi.CUDADeviceProperties(i)
		if err != nil {
			return nil, wrap("cuda:"+strconv.Itoa(i), err)
		}
		devices[i] = Properties{i, p.Name, p.TotalMemory, Version{int(p.Major), int(p.Minor), 0}, int(p.Multiprocessor)}
	}
	return devices, nil
}

// WithDevice runs f with the device current.
func WithDevice(device int, f func()) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, err := capi.SwapCUDADevice(device)
	if err != nil {
		return wrap("device", err)
	}
	defer capi.SwapCUDADevice(before)
	f()
	return nil
}

// Synchronize waits until the device has done all that any stream was given. Errors of kernels show here.
func Synchronize(device int) error { return wrap("synchronize", capi.SynchronizeCUDA(device)) }

// Settings are switches of the whole process.
type Settings struct {
	// TF32 lets float32 matrix products round their inputs to 10 bits of mantissa: several times as fast on compute
	// capability 8.0 and later. libtorch starts with false.
	TF32 bool
	// ConvTF32 is the same for convolutions. libtorch starts with true.
	ConvTF32 bool
	// CuDNNAttention lets scaled_dot_product_attention take cuDNN's kernels where libtorch thinks them the fastest, on
	// compute capability 9.0 and later. libtorch starts with true. Some of them round the probability of dropout to a
	// sixteenth (PyTorch #174245), and with a mask gradients were NaN at lengths of 64, 192, ... (#196678).
	CuDNNAttention bool
	// Benchmark makes cuDNN try its convolution algorithms on each new shape and keep the fastest.
	Benchmark bool
	// Deterministic makes results the same from run to run: deterministic kernels only, and operators that have none
	// fail. cuBLAS is deterministic as libtorch calls it, with a workspace for each stream (PyTorch #161749).
	Deterministic bool
}

// CurrentSettings reads the switches.
func CurrentSettings() (Settings, error) {
	s, err := capi.GetCUDASwitches()
	return Settings(s), wrap("settings", err)
}

// Apply sets the switches.
func (s Settings) Apply() error {
	return wrap("settings", capi.SetCUDASwitches(capi.CUDASwitches(s)))
}

// Seed starts the generator of a device anew: the one that operators there draw from when they are given none.
func Seed(device int, seed uint64) error {
	g, err := torch.CUDA(device).Generator()
	if err != nil {
		return err
	}
	return torch.Try(func() { g.Seed(seed) })
}
