package torch_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/torchtest"
)

func TestFromMapped(t *testing.T) {
	torchtest.Scoped(t, func() {
		owner := torch.FromSlice([]float32{1, 2, 3, 4, 5, 6}, 3, 2)
		memory := owner.SharedBytes()
		x := torch.FromMapped(memory, torch.Float32, 3, 2)
		assert.Equal(t, []float32{3, 4}, torch.ToSlice[float32](x.Select(0, 1)))
		owner.Fill_(7)
		assert.Equal(t, float32(7), torch.ToSlice[float32](x)[5], "the memory is the owner's")
		assert.Equal(t, []int{0, 2}, torch.FromMapped(nil, torch.Float32, 0, 2).Shape())
		for _, f := range []func(){
			func() { torch.FromMapped(memory, torch.Float32, 3, 3) },
			func() { torch.FromMapped(memory, torch.Float32, -3, -2) },
			func() { torch.FromMapped(memory[1:21], torch.Float32, 5) },
		} {
			assert.Error(t, torch.Try(f))
		}
	})
}
