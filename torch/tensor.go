package torch

import (
	"runtime"
	"sync/atomic"

	"github.com/thaw-ml/thaw/torch/internal/capi"
)

// Tensor is an n-dimensional array in libtorch. The zero Tensor is undefined: it stands for "none" where an operator
// takes an optional tensor, and fails anywhere else. Copies of a Tensor are the same tensor.
type Tensor struct{ h *handle }

// handle owns one reference to a native tensor, for as long as native is not 0.
type handle struct {
	native capi.Handle
	leaf   capi.Accumulator // of a leaf that is trained
	scoped bool             // a scope frees it
	closed atomic.Bool      // of a handle outside scopes, for watch, which may run on another goroutine
}

func (h *handle) ptr() capi.Handle { return h.native }

// holdAccumulator keeps the node that collects the gradient, on the CPU, for as long as the handle lives.
func (h *handle) holdAccumulator(a capi.Accumulator) {
	h.leaf.Free()
	h.leaf = a
}

var liveTensors, collectedTensors atomic.Int64

// young holds the latest handles outside scopes. Most are closed soon: only one that is still open when others have
// taken all the places gets a finalizer, which costs as much as half an operator.
var young struct {
	next  atomic.Uint32
	slots [64]atomic.Pointer[handle]
}

// watch makes sure that the collector frees h if nobody closes it.
func watch(h *handle) {
	i := young.next.Add(1) % uint32(len(young.slots))
	if old := young.slots[i].Swap(h); old != nil && !old.closed.Load() {
		runtime.SetFinalizer(old, collect)
	}
}

// adopt takes over a native tensor: the scope frees it, or Close, or the collector.
func adopt(ptr capi.Handle, scope int32) Tensor {
	if ptr == 0 {
		return Tensor{}
	}
	liveTensors.Add(1)
	h := &handle{native: ptr}
	if scope != 0 {
		h.scoped = true
		s := scopeAt(scope)
		s.handles = append(s.handles, h)
	} else {
		watch(h)
	}
	return Tensor{h}
}

func collect(h *handle) {
	if h.free() {
		collectedTensors.Add(1)
	}
}

// free gives the native tensor up, once; it reports whether there was one.
func (h *handle) free() bool {
	p := h.take()
	if p == 0 {
		return false
	}
	capi.Free([]capi.Handle{p})
	liveTensors.Add(-1)
	return true
}

// take gives the native tensor, which the caller now owns, and all else up.
func (h *handle) take() capi.Handle {
	p := h.native
	if p == 0 {
		return 0
	}
	h.native = 0
	if h.leaf != 0 {
		h.holdAccumulator(0)
	}
	if !h.scoped {
		h.closed.Store(true)
	}
	return p
}

// Close frees the tensor; the memory goes when nothing else shares it (a view, the autograd graph). Using a closed
// tensor panics; closing it again, or closing the zero Tensor, does nothing.
func (t Tensor) Close() {
	if t.h != nil {
		t.h.free()
	}
}

// Defined reports whether t is a tensor at all.
func (t Tensor) Defined() bool { return t.h != nil }

// Closed reports whether t was freed, by Close or with its scope.
func (t Tensor) Closed() bool { return t.h != nil && t.h.ptr() == 0 }

// Alias gives another owner of the same tensor, which belongs to the scope it is made in.
func (t Tensor) Alias() Tensor {
	h := capi.Share(t.ptr("alias"))
	runtime.KeepAlive(t.h)
	return adopt(h, capi.CurrentScope())
}

// ptr is the native tensor; it panics, naming op, where there is none.
func (t Tensor) ptr(op string) capi.Handle {
	if t.h == nil {
		panic(&Error{Op: op, Msg: "an undefined tensor (the zero Tensor) was given"})
	}
	p := t.h.ptr()
	if p == 0 {
		panic(&Error{Op: op, Msg: "the tensor was freed already: it was closed, or its scope has ended (see Keep)"})
	}
	return p
}

// describe fills info.
func (t Tensor) describe(op string, info *capi.Info) {
	if err := capi.Describe(t.ptr(op), info); err != nil {
		panic(failed(op, err))
	}
	runtime.KeepAlive(t.h)
}

// Dim is the number of dimensions.
func (t Tensor) Dim() int {
	n := capi.Dim(t.ptr("dim"))
	runtime.KeepAlive(t.h)
	return n
}

// Shape gives the lengths along each dimension.
func (t Tensor) Shape() []int {
	var sizes [64]int64
	p := t.ptr("shape")
	n := capi.Dim(p)
	capi.Sizes(p, sizes[:])
	runtime.KeepAlive(t.h)
	shape := make([]int, n)
	for i := range shape {
		shape[i] = int(sizes[i])
	}
	return shape
}

// Size is the length along a dimension; negative dimensions count from the end.
func (t Tensor) Size(dim int) int {
	var sizes [64]int64
	p := t.ptr("size")
	n := capi.Dim(p)
	if dim < -n || dim >= n {
		panic(&Error{Op: "size", Kind: IndexError, Shapes: [][]int{t.Shape()},
			Msg: sprintf("dimension %d of a tensor of %d dimensions", dim, n)})
	}
	if dim < 0 {
		dim += n
	}
	capi.Sizes(p, sizes[:])
	runtime.KeepAlive(t.h)
	return int(sizes[dim])
}

// Numel is the number of elements.
func (t Tensor) Numel() int {
	n := 1
	for _, s := range t.Shape() {
		n *= s
	}
	return n
}

// Strides are the steps, in elements, along each dimension.
func (t Tensor) Strides() []int {
	var info capi.Info
	t.describe("strides", &info)
	strides := make([]int, info.Dim)
	for i, s := range info.Strides() {
		strides[i] = int(s)
	}
	return strides
}

// DType is the type of the elements.
func (t Tensor) DType() DType {
	var info capi.Info
	t.describe("dtype", &info)
	return dtypeOf(info.DType)
}

// Device is where the elements lie.
func (t Tensor) Device() Device {
	var info capi.Info
	t.describe("device", &info)
	return deviceOf(info.DeviceType, info.DeviceIndex)
}

// IsContiguous reports whether the elements lie in row-major order without gaps.
func (t Tensor) IsContiguous() bool {
	var info capi.Info
	t.describe("is_contiguous", &info)
	return info.Contiguous()
}

// NBytes is the size of the elements in bytes.
func (t Tensor) NBytes() int {
	var info capi.Info
	t.describe("nbytes", &info)
	return int(info.Numel * info.ItemSize)
}

// Version counts the writes in place so far, as autograd does.
func (t Tensor) Version() uint64 {
	var info capi.Info
	t.describe("version", &info)
	return info.Version
}

// Digest is a 64-bit digest of shape-less, row-major element bytes: equal tensors have equal digests, and a tensor that
// moved has another. It is not made for security.
func (t Tensor) Digest() uint64 {
	d, err := capi.Digest(t.ptr("digest"))
	if err != nil {
		panic(failed("digest", err))
	}
	runtime.KeepAlive(t.h)
	return d
}

// Same reports whether both are the same native tensor.
func (t Tensor) Same(u Tensor) bool {
	return t.h == u.h || t.h != nil && u.h != nil && t.h.ptr() != 0 && t.h.ptr() == u.h.ptr()
}
