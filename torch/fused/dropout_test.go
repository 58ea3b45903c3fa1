package fused_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/fused"
	"github.com/thaw-ml/thaw/torch/torchtest"
)

func TestDropoutDrops(t *testing.T) {
	torchtest.Scoped(t, func() {
		torch.ManualSeed(3)
		const n = 1_000_003
		for _, p := range []float64{0.05, 0.1, 0.5, 0.9} {
			y := torch.ToSlice[float32](fused.Dropout(torch.Ones(torch.Float32, torch.CPU, n), torch.Tensor{}, p))
			dropped, pairs, blocks := 0, 0, 0
			for i, v := range y {
				if v != 0 {
					require.InDelta(t, 1/(1-p), v, 1e-5)
					continue
				}
				dropped++
				if i > 0 && y[i-1] == 0 {
					pairs++ // of neighbours
				}
				if i >= 64 && y[i-64] == 0 {
					blocks++ // of elements that two blocks have at the same place
				}
			}
			near := func(want float64, found int, what string) {
				assert.InDelta(t, want*n, found, 5*math.Sqrt(n*want*(1-want))+1, "%s, p %v", what, p)
			}
			near(p, dropped, "dropped")
			near(p*p, pairs, "neighbours")
			near(p*p, blocks, "one block apart")
		}
	})
}

// The mask is a function of the seed: of neither the threads nor the strides of what is dropped.
func TestDropoutRepeats(t *testing.T) {
	torchtest.Scoped(t, func() {
		x := torch.Ones(torch.Float32, torch.CPU, 100_000)
		mask := func(threads int) []float32 {
			before := torch.NumThreads()
			defer torch.SetNumThreads(before)
			torch.SetNumThreads(threads)
			torch.ManualSeed(7)
			return torch.ToSlice[float32](fused.Dropout(x, torch.Tensor{}, 0.3))
		}
		one := mask(1)
		assert.Equal(t, one, mask(2))
		assert.NotEqual(t, one, torch.ToSlice[float32](fused.Dropout(x, torch.Tensor{}, 0.3)), "the next call has another mask")
	})
}

func TestDropoutGradients(t *testing.T) {
	for _, c := range []struct {
		name string
		x    func() torch.Tensor
		rest torch.Tensor
	}{
		{"contiguous", func() torch.Tensor { return torch.Ones(torch.Float32, torch.CPU, 3, 5, 7) }, torch.Tensor{}},
		{"transposed", func() torch.Tensor { return torch.Ones(torch.Float32, torch.CPU, 5, 3).T() }, torch.Tensor{}},
		{"a slice, not dense", func() torch.Tensor { return torch.Ones(torch.Float32, torch.CPU, 5, 9).Narrow(1, 2, 4) }, torch.Tensor{}},
		{"bfloat16", func() torch.Tensor { return torch.Ones(torch.BFloat16, torch.CPU, 130) }, torch.Tensor{}},
		{"float64", func() torch.Tensor { return torch.Ones(torch.Float64, torch.CPU, 130) }, torch.Tensor{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			torchtest.Scoped(t, func() {
				x := c.x().RequiresGrad_(true)
				rest := torch.Empty(x.DType(), torch.CPU, x.Shape()...).Fill_(2).RequiresGrad_(true)
				y := fused.Dropout(x, torch.Tensor{}, 0.5)
				sum := fused.Dropout(x, rest, 0.5)
				for _, v := range torch.ToSlice[float32](sum.Detach().To(torch.Float32).Contiguous().Flatten(0, -1)) {
					assert.Contains(t, []float32{2, 4}, v)
				}
				// The gradient of x sees the masks of the forward passes.
				y.Add(sum).Sum().Backward()
				want := y.Detach().Add(sum.Detach()).AddScalar(-2)
				torchtest.Close(t, want, x.Grad(), 0, 0)
				torchtest.Close(t, rest.Detach().MulScalar(0.5), rest.Grad(), 0, 0)
			})
		})
	}
}

func TestDropoutOfNothingAndOfAll(t *testing.T) {
	torchtest.Scoped(t, func() {
		x := torch.FromSlice([]float32{1, 2, 3})
		assert.Equal(t, []float32{0, 0, 0}, torch.ToSlice[float32](fused.Dropout(x, torch.Tensor{}, 1)))
		assert.Equal(t, []float32{2, 4, 6}, torch.ToSlice[float32](fused.Dropout(x, x, 0)))
		assert.Panics(t, func() { fused.Dropout(x, torch.Tensor{}, 1.5) })
	})
}
