package text_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/text"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/data"
	"github.com/thaw-ml/thaw/torch/torchtest"
)

// The parts of a batch have the tensors of the whole, row by row: also a part without padding, whose whole has some.
func TestSlice(t *testing.T) {
	items := []text.Item{{Text: "a b c", Class: 1}, {Text: "a"}, {Text: "b c a"}, {Text: "a b", Class: 1}}
	d, err := dataset(t, items, base(42).WithHead(text.NewHead("x", "y")), text.DatasetOptions{MaxLength: 16})
	require.NoError(t, err)
	whole, err := d.Batch(data.Request{Indices: []int{0, 1, 2, 3}})
	require.NoError(t, err)
	torchtest.Scoped(t, func() {
		for name, b := range map[string]*text.Batch{"made": whole, "with": whole.With(whole.Tensors())} {
			parts := []*text.Batch{b.Slice(0, 1), b.Slice(1, 4)}
			assert.Equal(t, []int{1, 2, 3}, parts[1].Indices())
			assert.Equal(t, 1, parts[0].Size())
			for i, want := range whole.Tensors() {
				var rows []torch.Tensor
				for _, p := range parts {
					rows = append(rows, p.Tensors()[i])
					if p.Tensors()[i].Defined() {
						assert.Equal(t, p.Size(), p.Tensors()[i].Size(0))
					}
				}
				if !want.Defined() {
					continue
				}
				if name == "made" { // With's Tensors are made anew of what the batch was given
					assert.Equal(t, want.Digest(), torch.Cat(rows, 0).Digest(), "tensor %d", i)
				}
			}
			assert.Equal(t, whole.Targets()[0].Digest(), torch.Cat([]torch.Tensor{parts[0].Targets()[0], parts[1].Targets()[0]}, 0).Digest(), name)
		}
	})
}
