package torch

import "cmp"

// Range is a part of a dimension for [Tensor.Index], as start:stop:step in Python. Negative numbers count from the end.
type Range struct{ Start, Stop, Step int }

// End is a Range's Stop past the last element.
const End = int(^uint(0) >> 1)

// From is the Range from start to the end; To-ranges are written Range{Stop: n}.
func From(start int) Range { return Range{Start: start, Stop: End} }

type special int

// Indices with a meaning of their own.
const (
	All      special = iota // the whole dimension, `:` in Python
	Ellipsis                // as many whole dimensions as fit, `...`
	NewAxis                 // a new dimension of length 1, None
)

// Index takes a part of t, as t[i, a:b, ..., None, mask] does in Python. An index is an int, a [Range], [All],
// [Ellipsis], [NewAxis], or a Tensor of integers or bools. Without tensors the result is a view.
func (t Tensor) Index(indices ...any) Tensor {
	view, tensors := t.basicIndex(indices)
	switch {
	case tensors == nil && view == t:
		return t.ViewAlias() // an owner of its own
	case tensors == nil:
		return view
	}
	defer view.closeUnless(t)
	return indexTensors(view, tensors)
}

// SetIndex writes value, broadcast, into the part that Index takes.
func (t Tensor) SetIndex(value Tensor, indices ...any) {
	view, tensors := t.basicIndex(indices)
	defer view.closeUnless(t)
	trimmed := value.withoutLeadingOnes()
	defer trimmed.closeUnless(value)
	if tensors == nil {
		view.Copy_(trimmed)
		return
	}
	indexPut_(view, tensors, trimmed)
}

// AddIndex adds value into the part that Index takes; elements that are named twice count twice.
func (t Tensor) AddIndex(value Tensor, indices ...any) {
	view, tensors := t.basicIndex(indices)
	defer view.closeUnless(t)
	trimmed := value.withoutLeadingOnes()
	defer trimmed.closeUnless(value)
	if tensors == nil {
		view.Add_(trimmed)
		return
	}
	indexPutAdd_(view, tensors, trimmed)
}

// closeUnless frees t, a step on the way, at once: outside a scope nothing else would. It spares the caller's tensor.
func (t Tensor) closeUnless(callers Tensor) {
	if t != callers {
		t.Close()
	}
}

// withoutLeadingOnes drops leading dimensions of length 1, as assignments in Python do.
func (t Tensor) withoutLeadingOnes() Tensor {
	shape := t.Shape()
	n := 0
	for n < len(shape) && shape[n] == 1 {
		n++
	}
	if n == 0 {
		return t
	}
	return t.View(shape[n:]...)
}

// basicIndex applies what gives views and gathers the tensors by dimension, nil when there are none.
func (t Tensor) basicIndex(indices []any) (view Tensor, tensors []Tensor) {
	consumed := 0
	for _, ix := range indices {
		switch ix := ix.(type) {
		case int, Range:
			consumed++
		case special:
			if ix == All {
				consumed++
			}
		case Tensor:
			if ix.isMask() {
				consumed += ix.Dim()
			} else {
				consumed++
			}
		}
	}
	if consumed > t.Dim() {
		panic(&Error{Op: "index", Kind: IndexError, Shapes: [][]int{t.Shape()}, DTypes: []DType{t.DType()},
			Msg: sprintf("%d indices for %d dimensions", consumed, t.Dim())})
	}
	view, dim, ellipsis := t, 0, false
	spread := 0 // dimensions that masks span beyond their place in tensors
	step := func(next Tensor) {
		view.closeUnless(t)
		view = next
	}
	for _, ix := range indices {
		switch ix := ix.(type) {
		case int:
			step(view.Select(dim, ix))
		case Range:
			step(view.Slice(dim, ix.Start, ix.Stop, cmp.Or(ix.Step, 1)))
			dim++
		case Tensor:
			switch mask := ix.isMask(); {
			case ix.Dim() == 0 && mask: // a new dimension, taken or not
				step(view.Unsqueeze(dim))
				ix = ix.Unsqueeze(0)
				tensors = append(undefinedUpTo(tensors, dim-spread), ix)
				dim++
			case ix.Dim() == 0 && !ix.DType().IsFloat(): // as an int
				step(view.Select(dim, ix.ItemInt()))
			default:
				tensors = append(undefinedUpTo(tensors, dim-spread), ix)
				dim++
				if mask {
					dim += ix.Dim() - 1
					spread += ix.Dim() - 1
				}
			}
		case special:
			switch {
			case ix == NewAxis:
				step(view.Unsqueeze(dim))
				dim++
			case ix == All:
				dim++
			case ellipsis:
				panic(&Error{Op: "index", Kind: IndexError, Msg: "more than one Ellipsis"})
			default:
				ellipsis = true
				dim += t.Dim() - consumed
			}
		default:
			panic(&Error{Op: "index", Kind: IndexError, Msg: sprintf("an index of type %T", ix)})
		}
	}
	return view, tensors
}

func undefinedUpTo(tensors []Tensor, n int) []Tensor {
	for len(tensors) < n {
		tensors = append(tensors, Tensor{})
	}
	return tensors
}

// isMask reports whether t, as an index, selects by its elements' truth. Bytes do so too, as in PyTorch.
func (t Tensor) isMask() bool {
	d := t.DType()
	return d == Bool || d == Uint8
}
