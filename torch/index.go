package torch

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
	view, tensors, any := t.basicIndex(indices)
	if !any {
		return view
	}
	return indexTensors(view, tensors)
}

// SetIndex writes value, broadcast, into the part that Index takes.
func (t Tensor) SetIndex(value Tensor, indices ...any) {
	view, tensors, any := t.basicIndex(indices)
	if !any {
		view.Copy_(value)
		return
	}
	indexPut_(view, tensors, value)
}

// AddIndex adds value into the part that Index takes; elements that are named twice count twice.
func (t Tensor) AddIndex(value Tensor, indices ...any) {
	view, tensors, any := t.basicIndex(indices)
	if !any {
		view.Add_(value)
		return
	}
	indexPutAdd_(view, tensors, value)
}

// basicIndex applies what gives views and gathers the tensors by dimension.
func (t Tensor) basicIndex(indices []any) (view Tensor, tensors []Tensor, any bool) {
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
			consumed += max(1, boolDims(ix))
		}
	}
	if consumed > t.Dim() {
		panic(&Error{Op: "index", Kind: IndexError, Shapes: [][]int{t.Shape()}, DTypes: []DType{t.DType()},
			Msg: sprintf("%d indices for %d dimensions", consumed, t.Dim())})
	}
	view, dim, ellipsis := t, 0, false
	for _, ix := range indices {
		switch ix := ix.(type) {
		case int:
			view = view.Select(dim, ix)
		case Range:
			step := ix.Step
			if step == 0 {
				step = 1
			}
			view = view.Slice(dim, ix.Start, ix.Stop, step)
			dim++
		case Tensor:
			for len(tensors) < dim {
				tensors = append(tensors, Tensor{})
			}
			tensors, any = append(tensors, ix), true
			dim += max(1, boolDims(ix))
		case special:
			switch {
			case ix == NewAxis:
				view = view.Unsqueeze(dim)
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
	return view, tensors, any
}

// boolDims is the number of dimensions that a mask spans, 0 for a tensor of integers.
func boolDims(t Tensor) int {
	if d := t.DType(); d == Bool || d == Uint8 {
		return t.Dim()
	}
	return 0
}
