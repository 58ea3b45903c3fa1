package text

import (
	"math"

	"github.com/thaw-ml/thaw/finetune/train/objective"
	"github.com/thaw-ml/thaw/torch"
)

// Batch is a number of tokenised texts, padded.
type Batch struct {
	Index  []int             // the samples' positions in their data set
	Length []int             // of each sample, in tokens
	Target objective.Targets // of the samples; empty where they are not known
	IDs    []int64           // [N, T], padded
	Types  []int64           // [N, T], or nil where all are segment 0
	T      int               // the longest sample's tokens, or more where the batch was asked for so
	Masked bool              // there is a mask although nothing may be padded

	given []torch.Tensor // what the model reads in place of the above, see With
}

// Size is the number of texts.
func (b *Batch) Size() int { return len(b.Length) }

// Indices are the samples' positions in their data set.
func (b *Batch) Indices() []int { return b.Index }

// Lengths are the texts' tokens: rows of a stage's output beyond them are padding.
func (b *Batch) Lengths() []int { return b.Length }

// Width is T.
func (b *Batch) Width() int { return b.T }

// Targets are what the objective compares the logits with: see [objective.Targets].
func (b *Batch) Targets() []torch.Tensor { return []torch.Tensor{b.target()} }

// Tensors are ids, segments, attention mask, weights of the mean and targets, as the methods below.
func (b *Batch) Tensors() []torch.Tensor {
	return []torch.Tensor{b.ids(), b.types(), b.attentionMask(), b.MeanWeights(), b.target()}
}

// With gives the batch with its tensors elsewhere.
func (b *Batch) With(tensors []torch.Tensor) *Batch {
	other := *b
	other.given = tensors
	return &other
}

// Slice gives some of the texts, padded as the whole batch.
func (b *Batch) Slice(from, to int) *Batch {
	part := &Batch{
		Index: b.Index[from:to], Length: b.Length[from:to], T: b.T, Masked: b.Masked || b.padded(),
	}
	if b.given != nil {
		part.given = make([]torch.Tensor, len(b.given))
		for i, t := range b.given {
			if t.Defined() {
				part.given[i] = t.Narrow(0, from, to-from)
			}
		}
		return part
	}
	rows := make([]int, 0, to-from)
	for i := from; i < to; i++ {
		rows = append(rows, i)
	}
	part.Target = b.Target.Select(rows)
	part.IDs = b.IDs[from*b.T : to*b.T]
	if b.Types != nil {
		part.Types = b.Types[from*b.T : to*b.T]
	}
	return part
}

// ids is [N, T], int64.
func (b *Batch) ids() torch.Tensor {
	if b.given != nil {
		return b.given[0]
	}
	return torch.FromSlice(b.IDs, b.Size(), b.T)
}

// types is [N, T], int64, or undefined.
func (b *Batch) types() torch.Tensor {
	switch {
	case b.given != nil:
		return b.given[1]
	case b.Types == nil:
		return torch.Tensor{}
	}
	return torch.FromSlice(b.Types, b.Size(), b.T)
}

// padded reports whether any text is shorter than the longest.
func (b *Batch) padded() bool {
	for _, n := range b.Length {
		if n < b.T {
			return true
		}
	}
	return false
}

// attentionMask is what is added to the attention scores, [N, 1, 1, T]; undefined where nothing is padded.
func (b *Batch) attentionMask() torch.Tensor {
	switch {
	case b.given != nil:
		return b.given[2]
	case !b.Masked && !b.padded():
		return torch.Tensor{}
	}
	mask := make([]float32, b.Size()*b.T)
	for i, n := range b.Length {
		for j := n; j < b.T; j++ {
			mask[i*b.T+j] = float32(math.Inf(-1))
		}
	}
	return torch.FromSlice(mask, b.Size(), 1, 1, b.T)
}

// MeanWeights is 1/length for tokens and 0 for padding, [N, 1, T]: a batched product with it is the mean over tokens.
func (b *Batch) MeanWeights() torch.Tensor {
	if b.given != nil {
		return b.given[3]
	}
	w := make([]float32, b.Size()*b.T)
	for i, n := range b.Length {
		for j := range n {
			w[i*b.T+j] = 1 / float32(n)
		}
	}
	return torch.FromSlice(w, b.Size(), 1, b.T)
}

// target is what Targets gives, or undefined.
func (b *Batch) target() torch.Tensor {
	if b.given != nil {
		return b.given[4]
	}
	return b.Target.Tensor()
}
