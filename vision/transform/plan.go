package transform

import (
	"fmt"
	"image"
	"math"
	"sync"

	"github.com/thaw-ml/thaw/vision/picture"
)

// Plan is what is to be done to one picture: operations with their parameters drawn. The zero Plan is ready after
// Reset.
type Plan struct {
	width, height             int // of the source
	resultWidth, resultHeight int
	operations                []Operation
}

// NewPlan is an empty plan for a picture of width x height pixels.
func NewPlan(width, height int) (*Plan, error) {
	p := new(Plan)
	return p, p.Reset(width, height)
}

// Reset empties the plan for another picture and keeps its memory.
func (p *Plan) Reset(width, height int) error {
	if width <= 0 || height <= 0 {
		return fmt.Errorf("transform: a picture of %d x %d pixels: it needs one at least", width, height)
	}
	clear(p.operations)
	p.operations = p.operations[:0]
	p.width, p.height, p.resultWidth, p.resultHeight = width, height, width, height
	return nil
}

// Size is the size in pixels of the result of the operations added so far.
func (p *Plan) Size() (width, height int) { return p.resultWidth, p.resultHeight }

// Operations are those added so far, in their order. The caller does not change them.
func (p *Plan) Operations() []Operation { return p.operations }

// Add appends an operation. A crop of what was just resized becomes a part of the resizing, so that pixels that are cut
// off are never computed, and so does swapping left and right, which costs nothing there.
func (p *Plan) Add(op Operation) {
	if len(p.operations) > 0 {
		if last, ok := p.operations[len(p.operations)-1].(Resample); ok && last.take(op) {
			op, p.operations = last, p.operations[:len(p.operations)-1]
		}
	}
	p.operations = append(p.operations, op)
	p.resultWidth, p.resultHeight = op.Size(p.resultWidth, p.resultHeight)
}

// Region is the part of the source that the plan reads, and the scale, above 0 and at most 1, below which the picture
// should not be decoded: at this scale the first resizing has at least one pixel for every pixel that it makes. It is 1
// for an exact Resample, whose bytes depend on every source pixel. See Decoded and Part.
func (p *Plan) Region() (box image.Rectangle, scale float64) {
	box = image.Rect(0, 0, p.width, p.height)
	if len(p.operations) == 0 {
		return box, 1
	}
	switch op := p.operations[0].(type) {
	case Crop:
		if read := op.Box.Intersect(box); !read.Empty() {
			return read, 1
		}
	case Resample:
		if op.Box.Empty() {
			return box, 1
		}
		if op.Exact {
			return op.Box, 1
		}
		return op.Box, min(1, max(float64(op.Width)/float64(op.Box.Dx()), float64(op.Height)/float64(op.Box.Dy())))
	}
	return box, 1
}

// Decoded tells the plan that the whole source was decoded at another size, as Region allows: width x height pixels.
// The box of the first resizing moves to the nearest pixels; the result keeps its size.
func (p *Plan) Decoded(width, height int) error {
	if width == p.width && height == p.height {
		return nil
	}
	if width <= 0 || height <= 0 {
		return fmt.Errorf("transform: the picture was decoded to %d x %d pixels: it needs one at least", width, height)
	}
	if len(p.operations) == 0 {
		return fmt.Errorf("transform: the picture was decoded to %d x %d pixels instead of %d x %d, and the plan does not "+
			"resize it: decode it at full size", width, height, p.width, p.height)
	}
	op, ok := p.operations[0].(Resample)
	if !ok {
		return fmt.Errorf("transform: the picture was decoded to %d x %d pixels instead of %d x %d, and the plan starts with "+
			"%T, not with resizing: decode it at full size", width, height, p.width, p.height, p.operations[0])
	}
	op.Box.Min.X, op.Box.Max.X = scaleSide(op.Box.Min.X, op.Box.Max.X, p.width, width)
	op.Box.Min.Y, op.Box.Max.Y = scaleSide(op.Box.Min.Y, op.Box.Max.Y, p.height, height)
	p.operations[0], p.width, p.height = op, width, height
	return nil
}

// Part tells the plan that only a box of the source is there, as Region allows, with the box's first pixel as its first one.
func (p *Plan) Part(box image.Rectangle) error {
	whole := image.Rect(0, 0, p.width, p.height)
	if box == whole {
		return nil
	}
	read, _ := p.Region()
	if box.Empty() || !box.In(whole) || !read.In(box) {
		return fmt.Errorf("transform: the part %v of a picture of %d x %d pixels was decoded, and the plan reads %v: decode that",
			box, p.width, p.height, read)
	}
	switch op := p.operations[0].(type) { // another one, or none, reads the whole
	case Crop:
		op.Box = op.Box.Sub(box.Min)
		p.operations[0] = op
	case Resample:
		op.Box = op.Box.Sub(box.Min)
		p.operations[0] = op
	}
	p.width, p.height = box.Dx(), box.Dy()
	return nil
}

// scaleSide moves [low, high) of a side to the same place of a side of another length, one pixel at least.
func scaleSide(low, high, from, to int) (int, int) {
	ratio := float64(to) / float64(from)
	low = min(int(math.Round(float64(low)*ratio)), to-1)
	return low, min(max(int(math.Round(float64(high)*ratio)), low+1), to)
}

// Apply runs the operations on src, which is only read and has the size that the plan was made for, and writes the
// result to dst: in dst.Pix where its capacity is enough (a row of a batch, with its capacity cut to its length), in
// new memory otherwise. dst and src share no memory.
func (p *Plan) Apply(dst, src *picture.Image) error {
	if src.Width != p.width || src.Height != p.height {
		return fmt.Errorf("transform: the plan was made for a picture of %d x %d pixels and is applied to one of %d x %d", p.width,
			p.height, src.Width, src.Height)
	}
	if len(p.operations) == 0 {
		if err := begin("transform", dst, src, p.width, p.height); err != nil {
			return err
		}
		copy(dst.Pix, src.Pix)
		return nil
	}
	if len(p.operations) == 1 {
		return p.operations[0].Apply(dst, src)
	}
	between := intermediate.Get().(*[2]picture.Image)
	defer intermediate.Put(between)
	for i, op := range p.operations {
		to := &between[i%2]
		if i == len(p.operations)-1 {
			to = dst
		}
		if err := op.Apply(to, src); err != nil {
			return err
		}
		src = to
	}
	return nil
}

// intermediate holds the pictures between operations.
var intermediate = sync.Pool{New: func() any { return new([2]picture.Image) }}
