package fused_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	processor "golang.org/x/sys/cpu"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/fused"
	"github.com/thaw-ml/thaw/torch/torchtest"
)

// winograd chooses when 3 x 3 convolutions go by Winograd's filtering, until the test ends.
func winograd(t *testing.T, when fused.Winograd) {
	before := fused.UseWinograd(when)
	t.Cleanup(func() { fused.UseWinograd(before) })
}

// convolved is a convolution of 3 x 3 with its gradients.
type convolved struct{ y, dx, dw, db torch.Tensor }

// convolve runs one with autograd, where records is set, over x of ReLU's numbers, channels-last.
func convolve(
	conv func(x, w, b torch.Tensor) torch.Tensor, shape []int, out int, biased, records bool, dtype torch.DType,
) (c convolved) {
	g := torch.NewGenerator(3)
	x := torch.Empty(f32, cpu, shape...).Normal_(0, 1, g).ReLU()
	w := torch.Empty(f32, cpu, out, shape[1], 3, 3).Normal_(0, 0.05, g)
	var b torch.Tensor
	if biased {
		b = torch.Empty(f32, cpu, out).Normal_(0, 1, g).To(dtype)
	}
	dy := torch.Empty(f32, cpu, shape[0], out, shape[2], shape[3]).Normal_(0, 1, g).To(dtype)
	x, w = x.To(dtype).ContiguousAs(torch.ChannelsLast), w.To(dtype).ContiguousAs(torch.ChannelsLast)
	if !records {
		torch.NoGrad(func() { c.y = conv(x, w, b) })
		return c
	}
	x, w = x.RequiresGrad_(true), w.RequiresGrad_(true)
	if biased {
		b = b.RequiresGrad_(true)
	}
	c.y = conv(x, w, b)
	c.y.Mul(dy).Sum().Backward()
	c.dx, c.dw = x.Grad(), w.Grad()
	if biased {
		c.db = b.Grad()
	}
	return c
}

func fusedConv(x, w, b torch.Tensor) torch.Tensor {
	return fused.Conv2d(x, w, b, [2]int{1, 1}, [2]int{1, 1}, [2]int{1, 1}, 1)
}

func torchConv(x, w, b torch.Tensor) torch.Tensor {
	return torch.Conv2d(x, w, b, []int{1, 1}, []int{1, 1}, []int{1, 1}, 1)
}

// apart is the largest difference, relative to the largest number.
func apart(got, want torch.Tensor) float64 {
	return got.To(torch.Float64).Sub(want).Abs().Max().Item() / want.Abs().Max().Item()
}

// Convolutions of 3 x 3 and their gradients lie as near those in float64 as sums of thousands of float32 products can; pictures
// are larger and smaller than a tile and of sides that tiles do not divide, and many and few enough for every way.
func TestConv2dByWinograd(t *testing.T) {
	winograd(t, fused.WinogradAlways)
	for _, shape := range [][]int{
		{1, 64, 40, 33}, {3, 64, 17, 30}, {2, 128, 21, 13}, {1, 64, 8, 8}, {1, 16, 1, 1}, {1, 16, 3, 6}, {5, 32, 7, 7}, {40, 16, 5, 5},
	} {
		for _, out := range []int{64, 16} {
			for _, biased := range []bool{false, true} {
				t.Run(fmt.Sprint(shape, out, biased), func(t *testing.T) {
					torchtest.Scoped(t, func() {
						want := convolve(torchConv, shape, out, biased, true, torch.Float64)
						got := convolve(fusedConv, shape, out, biased, true, f32)
						assert.Equal(t, want.y.Shape(), got.y.Shape())
						assert.Equal(t, want.y.Strides(), got.y.Strides(), "channels-last")
						assert.Less(t, apart(got.y, want.y), 5e-6)
						assert.Less(t, apart(got.dx, want.dx), 5e-6)
						assert.Less(t, apart(got.dw, want.dw), 5e-6)
						if biased {
							assert.Less(t, apart(got.db, want.db), 5e-6)
						}
						assert.Less(t, apart(convolve(fusedConv, shape, out, biased, false, f32).y, want.y), 5e-6)
					})
				})
			}
		}
	}
}

// It is another computation than libtorch's where it is on, and libtorch's where it is off.
func TestConv2dWithoutWinograd(t *testing.T) {
	same := func() (same bool) {
		torchtest.Scoped(t, func() {
			shape := []int{1, 64, 40, 33}
			want := convolve(torchConv, shape, 64, true, true, f32)
			got := convolve(fusedConv, shape, 64, true, true, f32)
			same = want.y.Equal(got.y) && want.dx.Equal(got.dx) && want.dw.Equal(got.dw)
		})
		return same
	}
	winograd(t, fused.WinogradNever)
	assert.True(t, same())
	fused.UseWinograd(fused.WinogradAlways)
	assert.Equal(t, !processor.X86.HasAVX2, same())
}

// Threads that share the work do not change what comes out.
func TestWinogradOnThreads(t *testing.T) {
	winograd(t, fused.WinogradAlways)
	torchtest.Scoped(t, func() {
		shape := []int{2, 64, 61, 47}
		many := convolve(fusedConv, shape, 64, true, true, f32)
		var one convolved
		torch.SingleThreaded(func() { one = convolve(fusedConv, shape, 64, true, true, f32) })
		assert.True(t, many.y.Equal(one.y))
		assert.True(t, many.dx.Equal(one.dx))
		assert.Less(t, apart(many.dw, one.dw.To(torch.Float64)), 1e-6) // MKL may share sums
	})
}

// What is not trained costs no memory, and second derivatives are refused.
func TestConv2dGradientsThatAreAsked(t *testing.T) {
	winograd(t, fused.WinogradAlways)
	torchtest.Scoped(t, func() {
		x := torch.Ones(f32, cpu, 1, 16, 9, 9).ContiguousAs(torch.ChannelsLast)
		w := torch.Ones(f32, cpu, 16, 16, 3, 3).ContiguousAs(torch.ChannelsLast)
		w.RequiresGrad_(true)
		fusedConv(x, w, torch.Tensor{}).Sum().Backward()
		require.True(t, w.Grad().Defined())
		require.False(t, x.Grad().Defined())
		assert.InDelta(t, 81, w.Grad().Index(3, 5, 1, 1).Item(), 1e-3)
		assert.InDelta(t, 64, w.Grad().Index(3, 5, 0, 2).Item(), 1e-3)

		frozen := w.Detach()
		x.RequiresGrad_(true)
		fusedConv(x, frozen, torch.Tensor{}).Sum().Backward()
		require.True(t, x.Grad().Defined())
		assert.InDelta(t, 16*9, x.Grad().Index(0, 2, 4, 4).Item(), 1e-3)
		assert.InDelta(t, 16*4, x.Grad().Index(0, 2, 0, 0).Item(), 1e-3)
	})
}
