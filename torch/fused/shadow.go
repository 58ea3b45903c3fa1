package fused

import (
	"runtime"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/internal/capi"
)

// ShadowParams are copies of float32 parameters in the dtype of autocast, for steps that run again and again. Autocast
// makes such a copy of each parameter in each step by a kernel of its own; Refresh makes all of them by one. Results
// are the same to the last bit.
//
// [Linear], [LinearGELU], [LinearJoined] and [Conv2d] read them, and so do package nn's Linear and Conv2d, inside Use
// and torch.Autocast. A training step uses them through [Cast], which keeps Refresh, Use and Collect in order. They are
// used from one goroutine at a time and are to be closed; until then they count in torch.Stats as a tensor.
type ShadowParams struct{ h capi.ShadowParams }

// NewShadowParams makes copies in a dtype of parameters, dense float32 tensors on one device. Copies of those that
// require gradients collect gradients. Parameters of layers that are joined are best given one behind the other: where
// they have multiples of 128 elements, their copies are one matrix already. It panics *[torch.Error] where memory does
// not suffice.
func NewShadowParams(of []torch.Tensor, dtype torch.DType) *ShadowParams {
	const name = "shadow parameters"
	handles := make([]capi.Handle, len(of))
	for i, t := range of {
		handles[i] = native(t, name)
	}
	h, err := capi.NewShadowParams(handles, scalar(dtype))
	if err != nil {
		panic(failed(name, err, handles...))
	}
	runtime.KeepAlive(of)
	count(1)
	return &ShadowParams{h}
}

// Use runs f, in which layers read the copies. Uses nest. Nil ShadowParams only run f.
func (s *ShadowParams) Use(f func()) {
	if s == nil {
		f()
		return
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer s.open().Enter()()
	f()
}

// Refresh copies the parameters as they are now, and drops gradients that nobody collected. Its place is before a
// forward pass: between that and its backward pass copies are not to change.
func (s *ShadowParams) Refresh() {
	if s != nil {
		s.check(s.open().Refresh())
	}
}

// Collect gives the parameters, which must have none, the gradients that a backward pass left at their copies.
func (s *ShadowParams) Collect() {
	if s != nil {
		s.check(s.open().Collect())
	}
}

// Close frees the copies. Closing again does nothing.
func (s *ShadowParams) Close() {
	if s != nil && s.h != 0 {
		s.h.Free()
		s.h = 0
		count(-1)
	}
}

// open gives what is inside, or panics where it was closed.
func (s *ShadowParams) open() capi.ShadowParams {
	if s.h == 0 {
		panic(&torch.Error{Op: "shadow parameters", Msg: "they are closed"})
	}
	return s.h
}

func (*ShadowParams) check(err *capi.Error) {
	if err != nil {
		panic(failed("shadow parameters", err))
	}
}
