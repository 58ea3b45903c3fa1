package torch

import (
	"runtime"

	"github.com/thaw-ml/thaw/torch/internal/capi"
)

// The state that libtorch keeps for each thread is set by functions that run another function with its goroutine pinned
// to its thread, and put the state back at the end, even by a panic. Guards nest.

// NoGrad runs f without recording for autograd.
func NoGrad(f func()) { withGradMode(false, f) }

// EnableGrad runs f recording for autograd, also inside NoGrad.
func EnableGrad(f func()) { withGradMode(true, f) }

func withGradMode(on bool, f func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := capi.GradMode()
	capi.SetGradMode(on)
	defer capi.SetGradMode(before)
	f()
}

// GradEnabled reports whether the calling goroutine records for autograd. Outside guards it does.
func GradEnabled() bool { return capi.GradMode() }

// Inference runs f in inference mode: nothing is recorded, no versions are counted, and tensors made inside can never
// take part in autograd. It is the cheapest way to run a frozen network.
func Inference(f func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	exit, err := capi.EnterInference()
	if err != nil {
		panic(failed("inference_mode", err))
	}
	defer exit()
	f()
}

// SingleThreaded runs f with operators on the CPU keeping to the calling thread. Goroutines that do small work beside
// one another, as those that prepare data, run so: libtorch would start a pool of workers for each of their threads.
func SingleThreaded(f func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := capi.SwapThreadLimit(1)
	defer capi.SwapThreadLimit(before)
	f()
}

// Autocast runs f with the operators that gain by it computing in dtype (BFloat16 or Float16), on every device.
func Autocast(dtype DType, f func()) { autocast(dtype, true, f) }

// NoAutocast runs f without autocast, also inside Autocast.
func NoAutocast(f func()) { autocast(BFloat16, false, f) }

func autocast(dtype DType, on bool, f func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for _, device := range []DeviceType{CPUType, CUDAType} {
		exit, err := capi.EnterAutocast(int64(device), dtype.native(), on)
		if err != nil {
			panic(failed("autocast", err))
		}
		defer exit()
	}
	f()
}
