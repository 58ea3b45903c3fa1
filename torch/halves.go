package torch

import (
	"runtime"

	"github.com/thaw-ml/thaw/torch/internal/capi"
)

// Halves are copies of float32 parameters in the dtype of autocast, for steps that run again and again. Autocast makes such a
// copy of each parameter in each step by a kernel of its own; Refresh makes all of them by one. Results are the same to the
// last bit.
//
// They are read by [FastLinear], [FastLinearJoined] and [FastConv2d], and so by package nn's Linear and Conv2d, inside Use and
// [Autocast]. They are used from one goroutine at a time and are to be closed; until then they count in [Stats] as a tensor.
type Halves struct{ h capi.Halves }

// NewHalves makes copies in a dtype of parameters, dense and on one device, which are trained or not as they are now. Those of
// layers that are joined are best given one behind the other: where they have multiples of 128 elements, their copies are one
// matrix already.
func NewHalves(of []Tensor, dtype DType) *Halves {
	handles := make([]capi.Handle, len(of))
	for i, t := range of {
		handles[i] = t.ptr("halves")
	}
	h, err := capi.NewHalves(handles, dtype.native())
	if err != nil {
		panic(failed("halves", err, handles...))
	}
	runtime.KeepAlive(of)
	liveTensors.Add(1)
	return &Halves{h}
}

// Use runs f, in which layers read the copies. Uses nest. A nil Halves only runs f.
func (h *Halves) Use(f func()) {
	if h == nil {
		f()
		return
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer h.open().Enter()()
	f()
}

// Refresh copies the parameters as they are now, and drops gradients that nobody collected. Its place is before a forward
// pass: between that and its backward pass copies are not to change.
func (h *Halves) Refresh() {
	if h != nil {
		h.check(h.open().Refresh())
	}
}

// Collect gives the parameters, which must have none, the gradients that a backward pass left at their copies.
func (h *Halves) Collect() {
	if h != nil {
		h.check(h.open().Collect())
	}
}

// Close frees the copies. Closing again does nothing.
func (h *Halves) Close() {
	if h != nil && h.h != 0 {
		h.h.Free()
		h.h = 0
		liveTensors.Add(-1)
	}
}

// open gives what is inside, or panics where it was closed.
func (h *Halves) open() capi.Halves {
	if h.h == 0 {
		panic(&Error{Op: "halves", Msg: "they are closed"})
	}
	return h.h
}

func (*Halves) check(err *capi.Error) {
	if err != nil {
		panic(failed("halves", err))
	}
}
