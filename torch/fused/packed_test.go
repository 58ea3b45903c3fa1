package fused_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/fused"
)

func TestPackedWeights(t *testing.T) {
	torch.Scoped(func() {
		g := torch.NewGenerator(5)
		weight, other := torch.Randn(g, f32, cpu, 192, 256), torch.Randn(g, f32, cpu, 192, 256)
		bias := torch.Randn(g, f32, cpu, 192)
		before := torch.Stats().Tensors
		packed := fused.NewPackedWeights()
		assert.Equal(t, before+1, torch.Stats().Tensors)
		layer := func(x torch.Tensor) (plain, gelu []float32) {
			torch.NoGrad(func() {
				packed.Use(func() {
					plain = torch.ToSlice[float32](fused.Linear(x, weight, bias))
					gelu = torch.ToSlice[float32](fused.LinearGELU(x, weight, bias))
				})
			})
			return plain, gelu
		}
		want := func(x torch.Tensor) (plain, gelu []float32) {
			y := torch.Linear(x.To(torch.Float64), weight.To(torch.Float64), bias.To(torch.Float64))
			return torch.ToSlice[float32](y.To(f32)), torch.ToSlice[float32](y.GELU().To(f32))
		}
		same := func(x torch.Tensor, why string) {
			t.Helper()
			plain, gelu := layer(x)
			wantPlain, wantGELU := want(x)
			// Sums of 256 products of about 1: float32 rounds them by some 1e-6 of 16.
			assert.InDeltaSlice(t, wantPlain, plain, 1e-4, why)
			assert.InDeltaSlice(t, wantGELU, gelu, 1e-4, why)
		}
		x := torch.Randn(g, f32, cpu, 3, 8, 256)
		same(x, "packed now")
		same(x, "packed before")
		same(torch.Randn(g, f32, cpu, 300, 256), "another number of rows")
		torch.NoGrad(func() { weight.MulScalar_(2) })
		same(x, "a weight that was changed in place")
		weight = other
		same(x, "another weight")

		// What is recorded for autograd reads the weight itself, which then has a gradient.
		weight = weight.Detach().RequiresGrad_(true)
		packed.Use(func() { fused.Linear(x, weight, bias).Sum().Backward() })
		assert.True(t, weight.Grad().Defined())

		packed.Close()
		packed.Close()
		assert.PanicsWithError(t, "packed weights: they are closed", func() { packed.Use(func() {}) })
	})
}
