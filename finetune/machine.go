package finetune

import (
	"context"
	"fmt"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/cuda"
)

// machine is the device that a run computes on, beside what tensor operators do there. Everything but pin is called from
// the run's own goroutine, inside within.
type machine interface {
	device() torch.Device
	// within runs f with its work on the device going to one stream. While it waits for the device, ctx may end it.
	within(ctx context.Context, f func() error) error
	// pin gives CPU tensors in memory that the device copies from by itself. It may be called on any goroutine.
	pin(tensors []torch.Tensor) []torch.Tensor
	// copyAhead runs f, whose copies go beside what is computed, behind the last taken. What is computed from then on
	// comes after the copies.
	copyAhead(f func()) error
	// made says that memory was made that copies ahead will write: they come behind what was given to compute before, which
	// may have used it.
	made() error
	// taken says that what was copied ahead has been read, by what was given to compute so far.
	taken() error
	// pace waits until what was given to compute is at most a few calls of pace behind.
	pace() error
	// read begins to read a tensor of one float64 as it is when all that was given so far is done.
	read(t torch.Tensor) (reading, error)
	// capture records what f gives to compute, to be replayed; f itself does not take effect.
	capture(f func()) (recording, error)
	// share runs f with the memory of what is recorded, where something is. A replay overwrites what f made.
	share(f func() error) error
	generator() (*torch.Generator, error)
	synchronize() error
	free() int64    // bytes of memory
	release() error // gives back what is kept of memory that nothing uses
	resetPeak() error
	peak() int64 // bytes that were taken of it at most since the run began, or resetPeak; 0 where that is the process's memory
}

// reading is a value under way from the device.
type reading interface {
	done() bool
	wait() (float64, error)
	close()
}

// recording is a step that is replayed by one call.
type recording interface {
	replay() error
	close()
}

// host is the CPU: what it is given is done at once. capture has no use there.
type host struct{}

func (host) device() torch.Device                           { return torch.CPU }
func (host) within(_ context.Context, f func() error) error { return f() }
func (host) pin(tensors []torch.Tensor) []torch.Tensor      { return tensors }
func (host) copyAhead(f func()) error                       { f(); return nil }
func (host) made() error                                    { return nil }
func (host) taken() error                                   { return nil }
func (host) pace() error                                    { return nil }
func (host) read(t torch.Tensor) (reading, error)           { return known(t.Item()), nil }
func (host) synchronize() error                             { return nil }
func (host) generator() (*torch.Generator, error)           { return torch.DefaultGenerator(), nil }
func (host) share(f func() error) error                     { return f() }
func (host) release() error                                 { return nil }
func (host) free() int64                                    { return availableMemory() }
func (host) resetPeak() error                               { return nil }
func (host) peak() int64                                    { return 0 }
func (host) capture(func()) (recording, error)              { return nil, fmt.Errorf("the CPU records no graphs") }

// known is a value that has arrived.
type known float64

func (k known) done() bool             { return true }
func (k known) wait() (float64, error) { return float64(k), nil }
func (known) close()                   {}

// newMachine starts the device of a spec whose device was chosen.
func newMachine(spec *Spec) (machine, error) {
	device, err := torch.ParseDevice(spec.Device)
	if err != nil {
		return nil, spec.Errorf("device", "%w", err)
	}
	if device.Type == torch.CPUType {
		return host{}, nil
	}
	m, err := newGPU(device, cuda.Settings{
		TF32:          spec.Precision != "float32",
		ConvTF32:      spec.Precision != "float32",
		Benchmark:     !spec.Deterministic,
		Deterministic: spec.Deterministic,
	}, spec.Seed)
	if err != nil {
		return nil, err
	}
	return m, nil
}

// ChooseDevice makes "auto" a device and a precision; a device that this program cannot use is an error.
func (s *Spec) ChooseDevice() error {
	wrong := newFaults(s.source)
	wrong.device("device", &s.Device)
	wrong.choice("precision", &s.Precision, "auto", "float32", "bfloat16")
	if err := wrong.err(); err != nil {
		return err
	}
	if s.Device == "auto" {
		s.Device = "cpu"
		if d, err := firstGPU(); err == nil {
			s.Device = d.String()
		}
	}
	device, err := torch.ParseDevice(s.Device)
	if err == nil {
		err = device.Check()
	}
	if err != nil {
		return s.Errorf("device", "%w", err)
	}
	if s.Precision == "auto" {
		s.Precision = "float32"
		if device.MultipliesBFloat16() {
			s.Precision = "bfloat16"
		}
	}
	return nil
}

// NoGPU says why "auto" is the CPU in a program with CUDA: no driver answers, it is too old, or no GPU will do. It is nil
// where "auto" is a GPU, and in a program without CUDA, of which nobody expects one.
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
