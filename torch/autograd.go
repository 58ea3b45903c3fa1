package torch

import (
	"runtime"
	"slices"

	"github.com/thaw-ml/thaw/torch/internal/capi"
)

// BackwardOptions are the rare wishes of a backward pass.
type BackwardOptions struct {
	Grads       []Tensor // d/d(root) for each root; none means ones, for roots of one element
	Inputs      []Tensor // collect gradients only for these leaves; none means all
	RetainGraph bool     // keep the graph for another backward pass
	CreateGraph bool     // record the backward pass itself, for higher derivatives
	AllowUnused bool     // in Grad: an input that no root depends on gives an undefined Tensor instead of an error
}

// Backward adds the gradients of t, which must have one element, to the Grad of the leaves it was made from.
func (t Tensor) Backward() { Backward([]Tensor{t}, BackwardOptions{}) }

// BackwardWith adds the gradients of t, weighted with grad (of t's shape), to the Grad of the leaves.
func (t Tensor) BackwardWith(grad Tensor) {
	Backward([]Tensor{t}, BackwardOptions{Grads: []Tensor{grad}})
}

// Backward adds the gradients of roots to the Grad of the leaves they were made from.
func Backward(roots []Tensor, o BackwardOptions) {
	grads := o.Grads
	if grads == nil {
		grads = make([]Tensor, len(roots))
	}
	if len(grads) != len(roots) {
		panic(&Error{Op: "backward", Msg: sprintf("%d gradients for %d roots", len(grads), len(roots))})
	}
	r := natives("backward", roots, false)
	err := capi.Backward(r, natives("backward", grads, true), natives("backward", o.Inputs, false), o.RetainGraph,
		o.CreateGraph)
	if err != nil {
		panic(failed("backward", err, r...))
	}
	runtime.KeepAlive(roots)
	runtime.KeepAlive(grads)
	runtime.KeepAlive(o.Inputs)
}

// Grad gives the gradients of roots with respect to inputs without touching any Grad. An input that the roots do not
// depend on is an error, unless o.AllowUnused; o.Inputs is not read.
func Grad(roots, inputs []Tensor, o BackwardOptions) []Tensor {
	grads := o.Grads
	if grads == nil {
		grads = make([]Tensor, len(roots))
	}
	if len(grads) != len(roots) {
		panic(&Error{Op: "grad", Msg: sprintf("%d gradients for %d roots", len(grads), len(roots))})
	}
	r := natives("grad", roots, false)
	out, scope, err := capi.Grad(r, natives("grad", grads, true), natives("grad", inputs, false), o.RetainGraph,
		o.CreateGraph, o.AllowUnused)
	if err != nil {
		panic(failed("grad", err, r...))
	}
	runtime.KeepAlive(roots)
	runtime.KeepAlive(inputs)
	runtime.KeepAlive(grads)
	tensors := make([]Tensor, len(out))
	for i, h := range out {
		tensors[i] = adopt(h, scope)
	}
	return tensors
}

func natives(op string, tensors []Tensor, undefinedToo bool) []capi.Handle {
	out := make([]capi.Handle, len(tensors))
	for i, t := range tensors {
		if t.h != nil || !undefinedToo {
			out[i] = t.ptr(op)
		}
	}
	return out
}

// Grad is the gradient that backward passes have collected, undefined when there is none.
func (t Tensor) Grad() Tensor {
	h, scope, err := capi.TensorGrad(t.ptr("grad"))
	if err != nil {
		panic(failed("grad", err))
	}
	runtime.KeepAlive(t.h)
	return adopt(h, scope)
}

// SetGrad replaces the gradient, which must have t's shape, dtype and device; the zero Tensor drops it.
func (t Tensor) SetGrad(grad Tensor) {
	var g capi.Handle
	if grad.Defined() {
		g = grad.ptr("set grad")
		// libtorch leaves this check to Python.
		var want, got capi.Info
		t.describe("set grad", &want)
		grad.describe("set grad", &got)
		if !slices.Equal(want.Sizes(), got.Sizes()) || want.DType != got.DType || want.DeviceType != got.DeviceType ||
			want.DeviceIndex != got.DeviceIndex {
			panic(failed("set grad", &capi.Error{Msg: "the gradient differs in shape, dtype or device"}, t.h.ptr(), g))
		}
	}
	if err := capi.SetGrad(t.ptr("set grad"), g); err != nil {
		panic(failed("set grad", err, t.h.ptr()))
	}
	runtime.KeepAlive(t.h)
	runtime.KeepAlive(grad.h)
}

// ZeroGrad drops the gradient.
func (t Tensor) ZeroGrad() { t.SetGrad(Tensor{}) }

// RequiresGrad reports whether autograd records what is done with t.
func (t Tensor) RequiresGrad() bool {
	var info capi.Info
	t.describe("requires_grad", &info)
	return info.RequiresGrad()
}

// RequiresGrad_ says whether autograd records what is done with t, a leaf. It returns t.
func (t Tensor) RequiresGrad_(on bool) Tensor {
	accumulator, err := capi.SetRequiresGrad(t.ptr("requires_grad_"), on)
	if err != nil {
		panic(failed("requires_grad_", err, t.h.ptr()))
	}
	t.h.holdAccumulator(accumulator)
	runtime.KeepAlive(t.h)
	return t
}

// RetainGrad makes backward passes keep the gradient of t, which is no leaf.
func (t Tensor) RetainGrad() Tensor {
	if err := capi.RetainGrad(t.ptr("retain_grad")); err != nil {
		panic(failed("retain_grad", err, t.h.ptr()))
	}
	runtime.KeepAlive(t.h)
	return t
}

// IsLeaf reports whether no recorded operator made t.
func (t Tensor) IsLeaf() bool {
	var info capi.Info
	t.describe("is_leaf", &info)
	return info.Leaf()
}

// GradFn names the recorded operator that made t, as in "AddBackward0"; "" for a leaf.
func (t Tensor) GradFn() string {
	name, err := capi.GradFn(t.ptr("grad_fn"))
	if err != nil {
		panic(failed("grad_fn", err))
	}
	runtime.KeepAlive(t.h)
	return name
}

// SetData makes t hold the elements of src, sharing their memory, as `t.data = src` does in Python: gradients recorded
// before do not see it.
func (t Tensor) SetData(src Tensor) {
	if err := capi.SetData(t.ptr("set_data"), src.ptr("set_data")); err != nil {
		panic(failed("set_data", err, t.h.ptr(), src.h.ptr()))
	}
	runtime.KeepAlive(t.h)
	runtime.KeepAlive(src.h)
}

// MoveTo takes t, a leaf, to a device: every copy of the Tensor lies there afterwards, and trains there if it did
// before. Its gradient is dropped.
func (t Tensor) MoveTo(d Device) {
	if now := t.Device(); now == d {
		return
	}
	if !t.IsLeaf() {
		panic(&Error{Op: "move",
			Msg: "the tensor was made by a recorded operator: only leaves, such as parameters, can move"})
	}
	trained := t.RequiresGrad()
	Scoped(func() {
		moved := t.Detach().ToDevice(d)
		t.h.holdAccumulator(0)
		t.h.native, moved.h.native = moved.h.native, t.h.native
	})
	if trained {
		t.RequiresGrad_(true)
	}
}
