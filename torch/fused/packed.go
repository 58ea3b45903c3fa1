package fused

import (
	"runtime"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/internal/capi"
)

// PackedWeights are copies of the weights of linear layers in the layout that oneDNN multiplies fastest, for a model that
// predicts again and again: small batches, of some ten to a hundred rows, take a third to two thirds of the time. Copies
// take as much memory as the weights. Large batches gain nothing; results differ in the last digits.
//
// [Linear] and [LinearGELU], and so package nn's Linear, make them inside Use as they need them, for float32 on the CPU
// where nothing is recorded for autograd, and make one anew when its weight has changed. They are used from one goroutine
// at a time and are to be closed; until then they count in torch.Stats as a tensor.
type PackedWeights struct{ h capi.PackedWeights }

// NewPackedWeights keeps no copies yet. It panics *[torch.Error] where memory does not suffice.
func NewPackedWeights() *PackedWeights {
	h, err := capi.NewPackedWeights()
	if err != nil {
		panic(failed("packed weights", err))
	}
	count(1)
	return &PackedWeights{h}
}

// Use runs f, in which layers make and read the copies. Of uses within one another the innermost counts. Nil
// PackedWeights only run f.
func (p *PackedWeights) Use(f func()) {
	if p == nil {
		f()
		return
	}
	if p.h == 0 {
		panic(&torch.Error{Op: "packed weights", Msg: "they are closed"})
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer p.h.Enter()()
	f()
}

// Close frees the copies. Closing again does nothing.
func (p *PackedWeights) Close() {
	if p != nil && p.h != 0 {
		p.h.Free()
		p.h = 0
		count(-1)
	}
}
