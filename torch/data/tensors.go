package data

import (
	"fmt"

	"github.com/thaw-ml/thaw/torch"
)

// Tensors is a data set of samples that are in memory as tensors, as PyTorch's TensorDataset.
type Tensors struct{ inputs, targets torch.Tensor }

// NewTensors makes a data set of inputs [N, ...] and targets [N, ...] on the CPU. The tensors stay the caller's, and
// are not to be closed while the data set is used. It panics *torch.Error where the numbers of samples differ.
func NewTensors(inputs, targets torch.Tensor) *Tensors {
	if inputs.Dim() == 0 || targets.Dim() == 0 || inputs.Size(0) != targets.Size(0) {
		panic(&torch.Error{Op: "data.NewTensors", Shapes: [][]int{inputs.Shape(), targets.Shape()},
			Msg: "inputs and targets must have as many samples, along their first dimension"})
	}
	return &Tensors{inputs, targets}
}

// Len is the number of samples.
func (t *Tensors) Len() int { return t.inputs.Size(0) }

// Length is 1: nothing is padded.
func (t *Tensors) Length(int) int { return 1 }

// Augmented is false.
func (t *Tensors) Augmented() bool { return false }

// Batch copies some samples. An index out of range is an error.
func (t *Tensors) Batch(r Request) (*TensorBatch, error) {
	b := &TensorBatch{index: r.Indices}
	err := torch.Try(func() {
		torch.SingleThreaded(func() {
			torch.Unscoped(func() {
				at := torch.FromSlice(r.Indices)
				defer at.Close()
				b.Input = t.inputs.IndexSelect(0, at)
				b.Target = t.targets.IndexSelect(0, at)
			})
		})
	})
	if err != nil {
		b.Close()
		return nil, fmt.Errorf("making a batch of %d samples: %w", len(r.Indices), err)
	}
	return b, nil
}

// TensorBatch is a batch of Tensors.
type TensorBatch struct {
	Input  torch.Tensor // [n, ...]
	Target torch.Tensor // [n, ...]
	index  []int
}

// Size is the number of samples.
func (b *TensorBatch) Size() int { return len(b.index) }

// Indices are the samples' positions in their data set.
func (b *TensorBatch) Indices() []int { return b.index }

// Lengths is nil: nothing is padded.
func (b *TensorBatch) Lengths() []int { return nil }

// Width is 1, see Lengths.
func (b *TensorBatch) Width() int { return 1 }

// Tensors are input and target.
func (b *TensorBatch) Tensors() []torch.Tensor { return []torch.Tensor{b.Input, b.Target} }

// With gives the batch with its tensors elsewhere.
func (b *TensorBatch) With(tensors []torch.Tensor) *TensorBatch {
	return &TensorBatch{tensors[0], tensors[1], b.index}
}

// Targets is the target.
func (b *TensorBatch) Targets() []torch.Tensor { return []torch.Tensor{b.Target} }

// Close frees the tensors.
func (b *TensorBatch) Close() {
	b.Input.Close()
	b.Target.Close()
}
