package train

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/cuda"
)

// Backend is a device that steps and evaluations run on, beside what tensor operators do there. Everything but Pin is
// called from one goroutine, inside Within.
//
// Copies of the next batch run beside the step that computes. Two fences keep them apart: AllocFence after new staging
// buffers were allocated, StagingFree after the compute queued so far has read them. Decision 004 has a drawing.
type Backend interface {
	Device() torch.Device
	// Asynchronous reports whether work is queued, so that the CPU runs ahead of the device.
	Asynchronous() bool
	// Within runs f with its work on the device queued on one stream. While it waits for its turn on the device, ctx
	// may end it.
	Within(ctx context.Context, f func() error) error
	// Pin gives CPU tensors in memory that the device copies from by itself. It may be called on any goroutine.
	Pin(tensors []torch.Tensor) []torch.Tensor
	// Prefetch runs f, whose copies run beside queued compute, after the last StagingFree. What is computed from then
	// on comes after the copies.
	Prefetch(f func()) error
	// AllocFence orders later copies after all queued compute: the allocator may have reused memory that queued kernels
	// still read.
	AllocFence() error
	// StagingFree marks the staging buffers free once the compute queued so far has read them.
	StagingFree() error
	// Throttle waits until the device is at most a few calls of Throttle behind.
	Throttle() error
	// Read begins to read a float64 without dimensions as it is when all work queued so far is done.
	Read(t torch.Tensor) (Reading, error)
	// Capture captures what f queues as a CUDA graph; f itself does not take effect.
	Capture(f func()) (Graph, error)
	// ShareGraphMemory runs f with the memory of the captured graphs, if there are any. A replay overwrites what f
	// made.
	ShareGraphMemory(f func() error) error
	Generator() (*torch.Generator, error)
	Synchronize() error
	FreeMemory() int64 // bytes; 0 where that is not known
	EmptyCache() error // gives back memory that the allocator keeps and nothing uses
	ResetPeak() error
	Peak() int64 // the most bytes taken since Within began, or ResetPeak; 0 where that is the process's memory
	// KeepStreams says whether Within will be called again soon: streams, and what libraries keep for them, stay then.
	KeepStreams(on bool)
}

// Reading is a value on its way from the device.
type Reading interface {
	Done() bool
	Wait() (float64, error)
	Close()
}

// Graph is a captured step.
type Graph interface {
	Replay() error
	Close()
}

// CPU is the backend of the CPU: what is queued is done at once.
type CPU struct{}

// Device is torch.CPU.
func (CPU) Device() torch.Device { return torch.CPU }

// Asynchronous is false.
func (CPU) Asynchronous() bool { return false }

// Within runs f.
func (CPU) Within(_ context.Context, f func() error) error { return f() }

// Pin gives the tensors themselves.
func (CPU) Pin(tensors []torch.Tensor) []torch.Tensor { return tensors }

// Prefetch runs f.
func (CPU) Prefetch(f func()) error { f(); return nil }

// AllocFence does nothing.
func (CPU) AllocFence() error { return nil }

// StagingFree does nothing.
func (CPU) StagingFree() error { return nil }

// Throttle does nothing.
func (CPU) Throttle() error { return nil }

// Read reads at once.
func (CPU) Read(t torch.Tensor) (Reading, error) { return known(t.Item()), nil }

// Capture fails: the CPU has no graphs.
func (CPU) Capture(func()) (Graph, error) { return nil, errors.New("the CPU captures no graphs") }

// ShareGraphMemory runs f.
func (CPU) ShareGraphMemory(f func() error) error { return f() }

// Generator is the CPU's default generator.
func (CPU) Generator() (*torch.Generator, error) { return torch.DefaultGenerator(), nil }

// Synchronize does nothing.
func (CPU) Synchronize() error { return nil }

// FreeMemory is the machine's available memory in bytes; 0 where it is not known.
func (CPU) FreeMemory() int64 { return AvailableMemory() }

// EmptyCache does nothing.
func (CPU) EmptyCache() error { return nil }

// ResetPeak does nothing.
func (CPU) ResetPeak() error { return nil }

// Peak is 0: the process's memory is counted elsewhere.
func (CPU) Peak() int64 { return 0 }

// KeepStreams does nothing.
func (CPU) KeepStreams(bool) {}

// known is a value that has arrived.
type known float64

func (k known) Done() bool             { return true }
func (k known) Wait() (float64, error) { return float64(k), nil }
func (known) Close()                   {}

// Settings are how a device computes.
type Settings struct {
	Precision     torch.DType // torch.BFloat16 and torch.Float16 compute matrix products so, by autocast
	Deterministic bool        // of a GPU
	Seed          uint64      // of a GPU's generator
}

// NewBackend makes the backend of a device that ChooseDevice gave.
func NewBackend(device torch.Device, s Settings) (Backend, error) {
	if device.Type == torch.CPUType {
		return CPU{}, nil
	}
	return newGPU(device, cuda.Settings{
		TF32:          s.Precision != torch.Float32,
		ConvTF32:      s.Precision != torch.Float32,
		Benchmark:     !s.Deterministic,
		Deterministic: s.Deterministic,
	}, s.Seed)
}

// DeviceError is a device or precision that cannot be used.
type DeviceError struct {
	Option string // "device" or "precision"
	Err    error
}

func (e *DeviceError) Error() string { return e.Option + ": " + e.Err.Error() }

// Unwrap gives Err.
func (e *DeviceError) Unwrap() error { return e.Err }

// ChooseDevice gives the device and the precision that names stand for: "cpu", "cuda", "cuda:1", and "float32",
// "bfloat16", "float16". An empty name or "auto" is the first usable GPU, the CPU where there is none, and bfloat16 on a GPU that
// multiplies it, float32 elsewhere. The error of a device that this program cannot use is a *DeviceError.
func ChooseDevice(device, precision string) (torch.Device, torch.DType, error) {
	d := torch.CPU
	var err error
	switch device {
	case "", "auto":
		if gpu, none := firstGPU(); none == nil {
			d = gpu
		}
	default:
		if d, err = torch.ParseDevice(device); err == nil {
			err = d.Check()
		}
	}
	if err != nil {
		return torch.CPU, torch.Float32, &DeviceError{"device", err}
	}
	if !slices.Contains([]string{"", "auto", "float32", "bfloat16", "float16"}, precision) {
		return d, torch.Float32, &DeviceError{"precision", fmt.Errorf("expected auto, float32, bfloat16 or float16, found %q", precision)}
	}
	if precision == "float16" {
		return d, torch.Float16, nil
	}
	if precision == "bfloat16" || precision != "float32" && d.Type == torch.CUDAType && d.MultipliesBFloat16() {
		return d, torch.BFloat16, nil
	}
	return d, torch.Float32, nil
}

// RankDevice is the device of one of several processes on a machine, which are numbered from 0: the GPU as many behind the named one
// ("auto" and "cuda" name the first), or the only one that this process sees, or the CPU. An error is a *DeviceError.
func RankDevice(device string, localRank, localSize int) (torch.Device, error) {
	d, _, err := ChooseDevice(device, "")
	if err != nil || d.Type == torch.CPUType {
		return d, err
	}
	devices, err := cuda.Devices()
	switch {
	case err != nil:
	case len(devices) == 1: // what started the processes shows each its own; NCCL refuses one GPU for two
	case d.Index+localSize > len(devices):
		err = fmt.Errorf("%d processes of this machine each need a GPU of their own, from %v on, and there are %d: start fewer, or train on the CPU "+
			"(device: cpu)", localSize, d, len(devices))
	default:
		d.Index += localRank
		err = d.Check()
	}
	if err != nil {
		return d, &DeviceError{"device", err}
	}
	return d, nil
}

// NoGPU says why "auto" is the CPU in a program with CUDA: no driver answers, it is too old, or no GPU is usable. It is
// nil where "auto" is a GPU, and in a program without CUDA, of which nobody expects one.
func NoGPU() error {
	if !cuda.Built() {
		return nil
	}
	_, err := firstGPU()
	return err
}

// firstGPU is the first that libtorch has kernels for; the error is that of number 0.
func firstGPU() (torch.Device, error) {
	failure := torch.CUDA(0).Check()
	devices, _ := cuda.Devices() // none where failure says why
	for _, p := range devices {
		if d := torch.CUDA(p.Index); d.Check() == nil {
			return d, nil
		}
	}
	return torch.CPU, failure
}
