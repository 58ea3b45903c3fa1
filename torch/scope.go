package torch

import (
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/thaw-ml/thaw/torch/internal/capi"
)

// scope holds the tensors to free at its end. Only the goroutine that it belongs to touches it.
type scope struct {
	id      int32
	handles []*handle
	native  []capi.Handle // scratch for freeing
}

// The scopes by id. libtorch's threads carry the id; goroutines inside a scope are locked to theirs.
var scopes struct {
	sync.Mutex
	slots atomic.Pointer[[]*scope]
	free  []int32
}

func scopeAt(id int32) *scope { return (*scopes.slots.Load())[id] }

func newScope() *scope {
	scopes.Lock()
	defer scopes.Unlock()
	if n := len(scopes.free); n > 0 {
		id := scopes.free[n-1]
		scopes.free = scopes.free[:n-1]
		return scopeAt(id)
	}
	var old []*scope
	if p := scopes.slots.Load(); p != nil {
		old = *p
	} else {
		old = []*scope{nil} // id 0 is no scope
	}
	s := &scope{id: int32(len(old))}
	slots := append(append(make([]*scope, 0, len(old)+1), old...), s)
	scopes.slots.Store(&slots)
	return s
}

func (s *scope) end() {
	s.native = s.native[:0]
	for _, h := range s.handles {
		if !h.scoped {
			continue
		}
		if p := h.take(); p != 0 {
			s.native = append(s.native, p)
		}
	}
	capi.Free(s.native)
	liveTensors.Add(-int64(len(s.native)))
	clear(s.handles)
	s.handles = s.handles[:0]
	scopes.Lock()
	scopes.free = append(scopes.free, s.id)
	scopes.Unlock()
}

// Scoped runs f with its goroutine pinned to its thread and frees at its end, even by a panic, every tensor that f made
// on this goroutine, except those passed to [Keep]. Scopes nest; goroutines that f starts are not in the scope.
func Scoped(f func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	s := newScope()
	outer := capi.SwapScope(s.id)
	defer func() {
		capi.SwapScope(outer)
		s.end()
	}()
	f()
}

// ScopedErr is [Scoped] for a function that may fail: it gives f's error, or the [*Error] that a tensor operation in f
// panicked with, see [TryErr].
func ScopedErr(f func() error) error {
	return TryErr(func() (err error) {
		Scoped(func() { err = f() })
		return err
	})
}

// Unscoped runs f as if no scope were open: what it makes lives until Close. Parameters and optimizer state are made
// so.
func Unscoped(f func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	outer := capi.SwapScope(0)
	defer capi.SwapScope(outer)
	f()
}

// Tidy runs f and frees at once every tensor that f made, except its result, which belongs to the caller's scope.
// [Scoped] alone would hold each intermediate result until it ends, those too that no gradient needs.
//
// f may return a tensor that it did not make: Tidy gives another owner of it (see [Tensor.Alias]) and leaves f's as it
// is. An undefined result stays undefined. f is not to [Keep] its result.
func Tidy(f func() Tensor) Tensor {
	return TidyAll(func() []Tensor { return []Tensor{f()} })[0]
}

// TidyAll is Tidy of several results.
func TidyAll(f func() []Tensor) []Tensor {
	var results []capi.Handle
	Scoped(func() {
		for _, y := range f() {
			var h capi.Handle
			if y.Defined() {
				h = capi.Share(y.ptr("tidy"))
				runtime.KeepAlive(y.h)
			}
			results = append(results, h)
		}
	})
	out := make([]Tensor, len(results))
	for i, h := range results {
		out[i] = adopt(h, capi.CurrentScope())
	}
	return out
}

// NewParam runs make outside every scope: the tensor lives until Close, as parameters and an optimizer's state do.
func NewParam(make func() Tensor) (t Tensor) {
	Unscoped(func() { t = make() })
	return t
}

// Keep takes tensors out of their scopes: they live until Close. It returns the first, so that it reads as
// `return torch.Keep(x)`.
func Keep(tensors ...Tensor) Tensor {
	for _, t := range tensors {
		if t.h != nil && t.h.scoped && t.h.ptr() != 0 {
			t.h.scoped = false
			// The scope still lists the old handle, which now frees nothing.
			watch(t.h)
		}
	}
	if len(tensors) == 0 {
		return Tensor{}
	}
	return tensors[0]
}

// Statistics counts native memory.
type Statistics struct {
	Tensors   int64 // tensors that are not freed yet
	Collected int64 // tensors, since the start, that nobody closed and the garbage collector found
	Bytes     int64 // bytes that libtorch's CPU allocator holds
	PeakBytes int64 // the most it held since the start or ResetPeak
}

// Stats reads the counters.
func Stats() Statistics {
	m := capi.MemoryStats()
	return Statistics{liveTensors.Load(), collectedTensors.Load(), m.LiveBytes, m.PeakBytes}
}

// ResetPeak starts PeakBytes anew.
func ResetPeak() { capi.ResetPeak() }
