package detection

import (
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/vision/detection/annotation"
	"github.com/thaw-ml/thaw/vision/detection/evaluation"
)

// Batch is a number of pictures, each in the upper left corner of a canvas that all of them fit on.
type Batch struct {
	Index []int   // the samples' positions in their data set
	Sizes []Size  // of each picture
	Boxes [][]Box // to be found in each picture, in pixels of the resized one; nil where they are not known
	// Truth is all that is annotated of each picture, in pixels of the stored one, with Class in the numbers of the
	// network's labels: what detections are measured against.
	Truth [][]annotation.Box
	Side  struct { // of the canvas, pixels, multiples of 32
		Height, Width int
	}

	memory torch.Tensor   // [N, Height, Width, 3] float32, normalised, 0 outside of the pictures; undefined where no stage reads it
	given  []torch.Tensor // what the model reads in place of the above, see With
	from   int            // of a Slice: the first of its samples among those of given's images
}

// Size is that of a picture as the network sees it, without padding, and as it was stored, in pixels.
type Size struct {
	Height, Width                 int
	OriginalHeight, OriginalWidth int
}

// Box is an object's place and class in the numbers of the network's labels. Edges are in pixels, X from the left and Y
// from the top; the lower right corner is outside.
type Box struct {
	X1, Y1, X2, Y2 float32
	Label          int
}

// The tensors of a batch.
const (
	images      = iota // [N, H, W, 3] float32
	targetBoxes        // as Targets gives them
	targetLabels
	targetSizes
	targetTruth
	numTensors
)

// Size is the number of pictures.
func (b *Batch) Size() int { return len(b.Index) }

// Indices are the samples' positions in their data set.
func (b *Batch) Indices() []int { return b.Index }

// Lengths is nil: no dimension is counted as the tokens of a text are.
func (b *Batch) Lengths() []int { return nil }

// Width is 1, see Lengths.
func (b *Batch) Width() int { return 1 }

// Close frees the pixels. A batch of a data set's is to be closed.
func (b *Batch) Close() {
	if b != nil {
		b.memory.Close()
	}
}

// Tensors are images and targets, in the order of the constants.
func (b *Batch) Tensors() []torch.Tensor {
	out := make([]torch.Tensor, numTensors)
	if b.memory.Defined() {
		out[images] = b.memory.Narrow(0, 0, b.Size())
	}
	copy(out[targetBoxes:], b.targets())
	return out
}

// targets makes the tensors of Targets.
func (b *Batch) targets() []torch.Tensor {
	n := b.Size()
	sizes := make([]float32, 0, 4*n)
	for _, s := range b.Sizes {
		sizes = append(sizes, float32(s.Height), float32(s.Width), float32(s.OriginalHeight), float32(s.OriginalWidth))
	}
	most, all := 1, 1
	for i := range n {
		most, all = max(most, len(at(b.Boxes, i))), max(all, len(at(b.Truth, i)))
	}
	places, labels, truth := make([]float32, 4*n*most), make([]int, n*most), make([]float64, truthWidth*n*all)
	for i := range n {
		for j := range most {
			labels[i*most+j] = -1
		}
		for j, box := range at(b.Boxes, i) {
			copy(places[4*(i*most+j):], []float32{box.X1, box.Y1, box.X2, box.Y2})
			labels[i*most+j] = box.Label
		}
		for j := range all {
			truth[truthWidth*(i*all+j)+truthClass] = -1
			truth[truthWidth*(i*all+j)+truthSample] = float64(b.Index[i])
		}
		for j, box := range at(b.Truth, i) {
			copy(truth[truthWidth*(i*all+j):], []float64{
				box.X1, box.Y1, box.X2, box.Y2, box.Area, float64(box.Class), number(box.Crowd), number(box.Difficult),
			}) // the sample stays
		}
	}
	return []torch.Tensor{
		torch.FromSlice(places, n, most, 4), torch.FromSlice(labels, n, most), torch.FromSlice(sizes, n, 4),
		torch.FromSlice(truth, n, all, truthWidth),
	}
}

// The numbers of an annotated box in Targets, behind its four edges.
const (
	truthArea = iota + 4
	truthClass
	truthCrowd
	truthDifficult
	truthSample // the picture's position in the data set, beside every box and where there is none
	truthWidth
)

// truthOf reads what is annotated of each picture, in classes that count from 0 where the network's labels do from first, and
// the pictures' positions in the data set.
func truthOf(t torch.Tensor, first int) (out [][]evaluation.Truth, samples []int) {
	values := torch.ToSlice[float64](t)
	out, samples = make([][]evaluation.Truth, t.Size(0)), make([]int, t.Size(0))
	for i := range out {
		samples[i] = int(values[truthWidth*i*t.Size(1)+truthSample])
		for j := range t.Size(1) {
			v := values[truthWidth*(i*t.Size(1)+j):][:truthWidth]
			if v[truthClass] < 0 {
				break
			}
			out[i] = append(out[i], evaluation.Truth{
				X1: v[0], Y1: v[1], X2: v[2], Y2: v[3], Area: v[truthArea], Class: int(v[truthClass]) - first,
				Crowd: v[truthCrowd] != 0, Difficult: v[truthDifficult] != 0,
			})
		}
	}
	return out, samples
}

// at is the element i, or nothing where there is none.
func at[T any](of [][]T, i int) []T {
	if i < len(of) {
		return of[i]
	}
	return nil
}

func number(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// With gives the batch with its tensors elsewhere.
func (b *Batch) With(tensors []torch.Tensor) *Batch {
	other := *b
	other.given = tensors
	return &other
}

// Slice gives some of the pictures, on the same canvas.
func (b *Batch) Slice(from, to int) *Batch {
	part := *b
	part.Index, part.Sizes, part.from = b.Index[from:to], b.Sizes[from:to], b.from+from
	part.given = append([]torch.Tensor{}, b.tensors()...)
	for i := targetBoxes; i < numTensors; i++ {
		if t := part.given[i]; t.Defined() {
			part.given[i] = t.Narrow(0, from, to-from)
		}
	}
	part.memory, part.Boxes, part.Truth = torch.Tensor{}, nil, nil
	return &part
}

// tensors are those given, or made now.
func (b *Batch) tensors() []torch.Tensor {
	if b.given != nil {
		return b.given
	}
	return b.Tensors()
}

// Targets are, for M the largest number of boxes of a picture, or 1:
//
//   - boxes [N, M, 4] float32: X1, Y1, X2, Y2 in pixels of the resized picture; 0 where there is none
//   - labels [N, M] int64: -1 where there is no box
//   - sizes [N, 4] float32: height and width of the resized picture without padding, and of the original
//   - truth [N, T, 9] float64: all that is annotated, for measuring, as Batch.Truth has it
func (b *Batch) Targets() []torch.Tensor {
	if b.given != nil {
		return b.given[targetBoxes:]
	}
	return b.targets()
}

// Images is the network's input, [N, 3, Height, Width] float32 in channels-last order: normalised, and 0 where there is
// no picture.
func (b *Batch) Images() torch.Tensor {
	x := b.memory
	if b.given != nil {
		x = b.given[images]
	}
	if n := b.Size(); n < x.Size(0) {
		x = x.Narrow(0, b.from, n)
	}
	return x.Permute(0, 3, 1, 2)
}
