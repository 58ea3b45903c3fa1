package torch_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/torchtest"
)

func leaf(values ...float32) torch.Tensor { return vector(values...).RequiresGrad_(true) }

func floats(t torch.Tensor) []float32 { return torch.ToSlice[float32](t) }

func TestBackward(t *testing.T) {
	torchtest.Scoped(t, func() {
		x, fixed := leaf(1, 2, 3), vector(10, 20, 30)
		y := x.Square().Mul(fixed)
		assert.True(t, x.IsLeaf())
		assert.False(t, y.IsLeaf())
		assert.Equal(t, "MulBackward0", y.GradFn())
		assert.Empty(t, x.GradFn())
		assert.False(t, x.Grad().Defined())
		y.Sum().Backward()
		assert.Equal(t, []float32{20, 80, 180}, floats(x.Grad()))
		assert.False(t, fixed.Grad().Defined())
	})
}

func TestGradientsAccumulate(t *testing.T) {
	torchtest.Scoped(t, func() {
		x := leaf(1, 2)
		x.MulScalar(3).Sum().Backward()
		x.MulScalar(4).Sum().Backward()
		assert.Equal(t, []float32{7, 7}, floats(x.Grad()))
		x.ZeroGrad()
		assert.False(t, x.Grad().Defined())
		x.SetGrad(vector(1, 1))
		x.Sum().Backward()
		assert.Equal(t, []float32{2, 2}, floats(x.Grad()))
		caught(t, func() { x.SetGrad(vector(1, 2, 3)) })
	})
}

func TestBackwardWith(t *testing.T) {
	torchtest.Scoped(t, func() {
		x := leaf(1, 2)
		x.Square().BackwardWith(vector(10, 100))
		assert.Equal(t, []float32{20, 400}, floats(x.Grad()))
		e := caught(t, func() { x.Square().Backward() })
		assert.Contains(t, e.Error(), "scalar outputs")
		caught(t, func() { x.Square().BackwardWith(vector(1, 2, 3)) })
		e = caught(t, func() { vector(1).Backward() })
		assert.Contains(t, e.Error(), "does not require grad")
	})
}

func TestBackwardOptions(t *testing.T) {
	torchtest.Scoped(t, func() {
		x, w := leaf(1, 2), leaf(3, 4)
		a, b := x.Mul(w).Sum(), x.Square().Sum()
		torch.Backward([]torch.Tensor{a, b}, torch.BackwardOptions{
			Grads: []torch.Tensor{torch.FromScalar[float32](1), torch.FromScalar[float32](2)}, Inputs: []torch.Tensor{x}})
		assert.Equal(t, []float32{7, 12}, floats(x.Grad()))
		assert.False(t, w.Grad().Defined())
		e := caught(t, func() { torch.Backward([]torch.Tensor{a, b}, torch.BackwardOptions{Grads: []torch.Tensor{a}}) })
		assert.Contains(t, e.Error(), "1 gradients for 2 roots")
	})
}

func TestRetainGraph(t *testing.T) {
	torchtest.Scoped(t, func() {
		x := leaf(3)
		y := x.Square().Sum()
		torch.Backward([]torch.Tensor{y}, torch.BackwardOptions{RetainGraph: true})
		y.Backward()
		assert.Equal(t, []float32{12}, floats(x.Grad()))
		e := caught(t, y.Backward)
		assert.Contains(t, e.Error(), "second time")
	})
}

func TestGrad(t *testing.T) {
	torchtest.Scoped(t, func() {
		x, w, other := leaf(2), leaf(5), leaf(1)
		y := x.PowScalar(3).Mul(w).Sum() // w x^3
		g := torch.Grad([]torch.Tensor{y}, []torch.Tensor{x, w}, torch.BackwardOptions{RetainGraph: true})
		assert.Equal(t, []float32{60}, floats(g[0]))
		assert.Equal(t, []float32{8}, floats(g[1]))
		assert.False(t, x.Grad().Defined())

		roots, ins := []torch.Tensor{y}, []torch.Tensor{x, other}
		e := caught(t, func() { torch.Grad(roots, ins, torch.BackwardOptions{RetainGraph: true}) })
		assert.Contains(t, e.Error(), "not have been used")
		g = torch.Grad(roots, ins, torch.BackwardOptions{AllowUnused: true})
		assert.True(t, g[0].Defined())
		assert.False(t, g[1].Defined())
		e = caught(t, func() {
			torch.Grad(roots, ins, torch.BackwardOptions{Grads: []torch.Tensor{vector(1), vector(1)}, AllowUnused: true})
		})
		assert.Contains(t, e.Error(), "2 gradients for 1 roots")
	})
}

func TestHigherDerivatives(t *testing.T) {
	torchtest.Scoped(t, func() {
		x := leaf(2, -1)
		first := torch.Grad([]torch.Tensor{x.PowScalar(4).Sum()}, []torch.Tensor{x}, torch.BackwardOptions{CreateGraph: true})[0]
		assert.Equal(t, []float32{32, -4}, floats(first))
		second := torch.Grad([]torch.Tensor{first.Sum()}, []torch.Tensor{x}, torch.BackwardOptions{CreateGraph: true})[0]
		assert.Equal(t, []float32{48, 12}, floats(second))
		second.Sum().Backward()
		assert.Equal(t, []float32{48, -24}, floats(x.Grad()))
	})
}

func TestRetainGrad(t *testing.T) {
	torchtest.Scoped(t, func() {
		x := leaf(1, 2)
		y := x.MulScalar(3)
		z := y.Square()
		y.RetainGrad()
		z.Sum().Backward()
		assert.Equal(t, []float32{6, 12}, floats(y.Grad()))
		assert.Equal(t, []float32{18, 36}, floats(x.Grad()))
	})
}

func TestDetach(t *testing.T) {
	torchtest.Scoped(t, func() {
		x := leaf(1, 2)
		y := x.MulScalar(3).Detach()
		assert.False(t, y.RequiresGrad())
		x.Mul(y).Sum().Backward()
		assert.Equal(t, []float32{3, 6}, floats(x.Grad()))
		e := caught(t, func() { x.MulScalar(2).RequiresGrad_(false) })
		assert.Contains(t, e.Error(), "leaf")
		e = caught(t, func() { torch.FromSlice([]int{1}).RequiresGrad_(true) })
		assert.Contains(t, e.Error(), "floating point")
	})
}

func TestWritesInPlace(t *testing.T) {
	torchtest.Scoped(t, func() {
		x := leaf(1, 2)
		e := caught(t, func() { x.AddScalar_(1) })
		assert.Contains(t, e.Error(), "leaf Variable that requires grad")
		y := x.Exp()
		z := y.Square().Sum()
		y.Mul_(y)
		e = caught(t, z.Backward)
		assert.Contains(t, e.Error(), "modified by an inplace operation")

		before := x.Version()
		torch.NoGrad(func() { x.AddScalar_(1) })
		assert.Equal(t, before+1, x.Version())
		x.SetData(vector(5, 6, 7))
		assert.Equal(t, []float32{5, 6, 7}, floats(x))
		assert.True(t, x.RequiresGrad())
	})
}
