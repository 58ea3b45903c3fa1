package vision_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/thaw-ml/thaw/finetune/train/objective"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/torchtest"
	"github.com/thaw-ml/thaw/vision"
)

// shown is what a network is shown of a batch: the input of its first stage.
func shown(b *vision.Batch) torch.Tensor { return vision.Images(b) }

func TestImagesAreNormalised(t *testing.T) {
	const side = 5
	b := &vision.Batch{
		Index: []int{0, 1}, Target: objective.Targets{Classes: []int{1, 0}}, Side: side,
		Mean: []float32{0.485, 0.456, 0.406}, Std: []float32{0.229, 0.224, 0.225},
	}
	for i := range 2 * side * side * 3 {
		b.Pixels = append(b.Pixels, byte(i*7+i/150*3))
	}
	torchtest.Scoped(t, func() {
		x := shown(b)
		assert.Equal(t, []int{2, 3, side, side}, x.Shape())
		assert.Equal(t, []int{3 * side * side, 1, 3 * side, 3}, x.Strides(), "channels last")
		assert.Equal(t, torch.Float32, x.DType())
		got := torch.ToSlice[float32](x.Permute(0, 2, 3, 1))
		for i, v := range b.Pixels {
			want := (float64(v)/255 - float64(b.Mean[i%3])) / float64(b.Std[i%3])
			assert.InDelta(t, want, got[i], 1e-6, "sample %d", i) // a few units in the last place of 2.7, float32
		}
		again := shown(b.With(b.Tensors()))
		assert.Equal(t, x.Strides(), again.Strides())
		assert.Equal(t, x.Digest(), again.Digest(), "the same from tensors that were made before")

		// What differs between batches comes from the tensors, which a recorded step reads: not from the batch.
		other := *b
		other.Pixels, other.Mean = make([]byte, len(b.Pixels)), []float32{0, 0, 0}
		assert.Equal(t, x.Digest(), shown(other.With(b.Tensors())).Digest())
		assert.NotEqual(t, x.Digest(), shown(&other).Digest())
	})
}

func TestBatchTensors(t *testing.T) {
	b := &vision.Batch{Index: []int{4, 2, 9}, Side: 2, Pixels: make([]byte, 36), Mean: []float32{0, 0, 0}, Std: []float32{1, 1, 1}}
	torchtest.Scoped(t, func() {
		tensors := b.Tensors()
		assert.False(t, tensors[3].Defined(), "labels that are not known")
		assert.Equal(t, []int{3, 2, 2, 3}, tensors[0].Shape())
		assert.Equal(t, torch.Uint8, tensors[0].DType())
		b.Target.Classes = []int{1, 0, 1}
		assert.Equal(t, []int64{1, 0, 1}, torch.ToSlice[int64](b.Tensors()[3]))
		b.Mixed, b.Share = []float32{1, 0, 0.25, 0.75, 0.5, 0.5}, 0.25
		tensors = b.Tensors()
		assert.Equal(t, []int{3, 2}, tensors[3].Shape())
		assert.Equal(t, b.Mixed, torch.ToSlice[float32](tensors[3]))
		assert.Equal(t, 0.25, tensors[4].Item())
		assert.Empty(t, tensors[4].Shape())
	})
}

// The parts of a batch are shown what the whole is, mixed or not, and have its targets.
func TestSlice(t *testing.T) {
	b := &vision.Batch{Index: []int{4, 2, 9, 1, 7}, Target: objective.Targets{Classes: []int{1, 0, 1, 2, 0}}, Side: 2, Mean: []float32{0, 0.5, 0}, Std: []float32{1, 2, 1}}
	for i := range 5 * 12 {
		b.Pixels = append(b.Pixels, byte(i*37))
	}
	mixed := *b
	mixed.Share = 0.25
	for i := range 15 {
		mixed.Mixed = append(mixed.Mixed, float32(i))
	}
	torchtest.Scoped(t, func() {
		for name, whole := range map[string]*vision.Batch{"plain": b, "with": b.With(b.Tensors()), "mixed": &mixed, "mixed, with": mixed.With(mixed.Tensors())} {
			for _, cuts := range [][]int{{0, 2, 4, 5}, {0, 1, 5}, {0, 5}} {
				var shownParts, targets []torch.Tensor
				for i := range len(cuts) - 1 {
					part := whole.Slice(cuts[i], cuts[i+1])
					assert.Equal(t, whole.Index[cuts[i]:cuts[i+1]], part.Indices())
					shownParts, targets = append(shownParts, shown(part)), append(targets, part.Targets()[0])
				}
				assert.Equal(t, torch.ToSlice[float32](shown(whole)), torch.ToSlice[float32](torch.Cat(shownParts, 0)), "%s %v", name, cuts)
				assert.Equal(t, whole.Targets()[0].Digest(), torch.Cat(targets, 0).Digest(), "%s %v", name, cuts)
			}
			inner := whole.Slice(1, 5).Slice(1, 3)
			assert.Equal(t, torch.ToSlice[float32](shown(whole).Narrow(0, 2, 2).Contiguous()), torch.ToSlice[float32](shown(inner).Contiguous()), name)
		}
	})
}
