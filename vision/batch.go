package vision

import (
	"github.com/thaw-ml/thaw/finetune/train/objective"
	"github.com/thaw-ml/thaw/torch"
	torchpixels "github.com/thaw-ml/thaw/torch/pixels"
)

// Batch is a number of pictures of one size.
type Batch struct {
	Index  []int             // the samples' positions in their data set
	Target objective.Targets // of the samples; empty where they are not known
	Pixels []byte            // [N, Side, Side, 3], or nil where what the first layers make of them was kept
	Side   int               // pixels
	Mean   []float32         // of samples scaled to 0..1, red, green, blue
	Std    []float32

	// Of a batch that MixUp or CutMix has mixed: the samples' class probabilities, [N, classes], and, for MixUp, each
	// sample's own share of its pixels. CutMix has mixed the pixels already, its share is 1.
	Mixed []float32
	Share float32

	memory torch.Tensor   // [N or more, Side, Side, 3] uint8, whose memory Pixels is; undefined where that is Go's
	given  []torch.Tensor // what the model reads in place of the above, see With
	from   int            // of a Slice: the first of its samples among those of given's pixels
}

// Size is the number of pictures.
func (b *Batch) Size() int { return len(b.Index) }

// Indices are the samples' positions in their data set.
func (b *Batch) Indices() []int { return b.Index }

// Lengths is nil: pictures are not padded.
func (b *Batch) Lengths() []int { return nil }

// Width is 1, see Lengths.
func (b *Batch) Width() int { return 1 }

// Targets are what the objective compares the logits with: see [objective.Targets]; class probabilities, [N, classes]
// float32, of a mixed batch.
func (b *Batch) Targets() []torch.Tensor { return []torch.Tensor{b.target()} }

// The tensors of a batch.
const (
	pixels  = iota // [N, Side, Side, 3], uint8
	scale          // [1, 3, 1, 1]: pixels times scale plus offset is the network's input
	offset         // [1, 3, 1, 1]
	targets        // as Targets gives them
	share          // of MixUp, without dimensions; undefined where nothing is mixed
	numTensors
)

// Close frees the pixels. A batch of a data set's is to be closed; Pixels must not be touched after.
func (b *Batch) Close() {
	if b == nil {
		return
	}
	b.memory.Close()
	if b.memory.Defined() {
		b.Pixels = nil
	}
}

// Tensors are pixels, normalisation and targets, in the order of the constants.
func (b *Batch) Tensors() []torch.Tensor {
	out := make([]torch.Tensor, numTensors)
	if b.Pixels != nil {
		factor, shift := make([]float32, 3), make([]float32, 3)
		for c := range factor {
			factor[c] = 1 / (255 * b.Std[c])
			shift[c] = -b.Mean[c] / b.Std[c]
		}
		if b.memory.Defined() {
			out[pixels] = b.memory.Narrow(0, 0, b.Size())
		} else {
			out[pixels] = torch.FromBytes(b.Pixels, torch.Uint8, b.Size(), b.Side, b.Side, 3)
		}
		out[scale], out[offset] = torch.FromSlice(factor, 1, 3, 1, 1), torch.FromSlice(shift, 1, 3, 1, 1)
	}
	out[targets] = b.target()
	if b.Mixed != nil {
		out[share] = torch.FromScalar(b.Share)
	}
	return out
}

// With gives the batch with its tensors elsewhere.
func (b *Batch) With(tensors []torch.Tensor) *Batch {
	other := *b
	other.given = tensors
	return &other
}

// Slice gives some of the pictures. Those of a mixed batch are mixed with their neighbours in the whole.
func (b *Batch) Slice(from, to int) *Batch {
	part := *b
	part.Index, part.from = b.Index[from:to], b.from+from
	part.given = append([]torch.Tensor{}, b.tensors()...)
	if t := part.given[targets]; t.Defined() {
		part.given[targets] = t.Narrow(0, from, to-from)
	}
	part.Pixels, part.memory, part.Target, part.Mixed = nil, torch.Tensor{}, objective.Targets{}, nil
	return &part
}

// tensors are those given, or made now.
func (b *Batch) tensors() []torch.Tensor {
	if b.given != nil {
		return b.given
	}
	return b.Tensors()
}

// target is what the objective compares with; undefined where it is not known.
func (b *Batch) target() torch.Tensor {
	switch {
	case b.given != nil:
		return b.given[targets]
	case b.Mixed != nil:
		return torch.FromSlice(b.Mixed, b.Size(), -1)
	}
	return b.Target.Tensor()
}

// Images is the network's input, [N, 3, Side, Side] float32 in channels-last order: normalised, and mixed by MixUp.
func (b *Batch) Images() torch.Tensor {
	t := b.tensors()
	whole := t[pixels].Size(0)
	x := normalised(t, b.from, b.Size())
	switch {
	case !t[share].Defined():
		return x
	case b.Size() == whole:
		return x.Roll([]int{1}, []int{0}).LerpTensor(x, t[share])
	case b.from > 0:
		return normalised(t, b.from-1, b.Size()).LerpTensor(x, t[share])
	}
	before := []torch.Tensor{normalised(t, whole-1, 1)}
	if b.Size() > 1 {
		before = append(before, normalised(t, 0, b.Size()-1))
	}
	return torch.Cat(before, 0).LerpTensor(x, t[share])
}

// normalised makes numbers of the pixels of some samples.
func normalised(t []torch.Tensor, from, n int) torch.Tensor {
	p := t[pixels]
	if n < p.Size(0) {
		p = p.Narrow(0, from, n)
	}
	if p.Device().Type == torch.CPUType {
		return torchpixels.Normalise(p, t[scale], t[offset])
	}
	return t[offset].Addcmul(p.Permute(0, 3, 1, 2), t[scale], 1) // one pass
}
