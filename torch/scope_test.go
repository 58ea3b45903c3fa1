package torch_test

import (
	"errors"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/torchtest"
)

func live() int64 { return torch.Stats().Tensors }

func TestScopeFrees(t *testing.T) {
	before := live()
	var x, kept torch.Tensor
	torch.Scoped(func() {
		x = vector(1, 2)
		kept = torch.Keep(x.AddScalar(1))
		assert.Equal(t, before+2, live())
		for _, part := range x.Split(1, 0) {
			assert.False(t, part.Closed())
		}
		assert.Equal(t, before+4, live())
	})
	assert.Equal(t, before+1, live())
	assert.True(t, x.Closed())
	assert.True(t, x.Defined())
	e := caught(t, func() { x.Add(kept) })
	assert.Contains(t, e.Error(), "freed already")
	assert.Contains(t, e.Error(), "scope has ended")
	caught(t, func() { kept.Add(x) })
	caught(t, func() { torch.Cat([]torch.Tensor{kept, x}, 0) })
	caught(t, func() { x.Shape() })
	caught(t, func() { torch.ToSlice[float32](x) })
	caught(t, func() { x.Backward() })
	assert.Equal(t, []float32{2, 3}, floats(kept))
	kept.Close()
	assert.Equal(t, before, live())
}

func TestScopesNest(t *testing.T) {
	before := live()
	torch.Scoped(func() {
		outer := vector(1)
		var inner, outside torch.Tensor
		torch.Scoped(func() {
			inner = outer.Neg()
			torch.Unscoped(func() {
				outside = inner.Neg()
				torch.Scoped(func() { outside.Neg() })
			})
			assert.Equal(t, before+3, live())
		})
		assert.True(t, inner.Closed())
		assert.False(t, outer.Closed())
		assert.False(t, outside.Closed())
		outer.Neg() // belongs to the outer scope again
		outside.Close()
	})
	assert.Equal(t, before, live())
}

func TestScopeEndsByPanic(t *testing.T) {
	before := live()
	caught(t, func() {
		torch.Scoped(func() {
			torch.Scoped(func() { vector(1, 2).Add(vector(1, 2, 3)) })
		})
	})
	assert.Equal(t, before, live())
	assert.PanicsWithValue(t, "other", func() {
		torch.Scoped(func() {
			vector(1)
			panic("other")
		})
	})
	assert.Equal(t, before, live())
	x := vector(1) // the scope is gone
	assert.Equal(t, before+1, live())
	x.Close()
}

func TestScopeEndsByGoexit(t *testing.T) {
	before := live()
	elsewhere(func() {
		torch.Scoped(func() {
			vector(1)
			runtime.Goexit()
		})
	})
	assert.Equal(t, before, live())
}

func TestScopeIsItsGoroutines(t *testing.T) {
	before := live()
	var x torch.Tensor
	torch.Scoped(func() {
		elsewhere(func() { x = vector(1) })
	})
	assert.False(t, x.Closed())
	x.Close()
	assert.Equal(t, before, live())
}

func TestCloseTwice(t *testing.T) {
	before := live()
	x := vector(1)
	x.Close()
	x.Close()
	torch.Tensor{}.Close()
	torch.Scoped(func() {
		y := vector(1)
		y.Close()
		y.Close()
		assert.Equal(t, before, live())
		z := torch.Keep(vector(1))
		torch.Keep(z, y, torch.Tensor{})
		z.Close()
	})
	assert.Equal(t, before, live())
	assert.False(t, torch.Keep().Defined())
}

func TestCopiesAreTheSameTensor(t *testing.T) {
	x := vector(1)
	y := x
	assert.True(t, x.Same(y))
	alias := x.Alias()
	assert.True(t, x.Same(alias))
	clone := x.Clone()
	assert.False(t, x.Same(clone))
	alias.AddScalar_(1)
	y.Close()
	assert.True(t, x.Closed())
	assert.False(t, x.Same(alias))
	assert.Equal(t, []float32{2}, floats(alias))
	alias.Close()
	clone.Close()
}

func TestUndefinedTensor(t *testing.T) {
	var zero torch.Tensor
	assert.False(t, zero.Defined())
	assert.False(t, zero.Closed())
	e := caught(t, func() { zero.Neg() })
	assert.Equal(t, "aten::neg", e.Op)
	assert.Contains(t, e.Error(), "undefined tensor")
}

func TestAViewOutlivesItsBase(t *testing.T) {
	x := vector(1, 2, 3)
	view := x.Narrow(0, 1, 2)
	x.Close()
	assert.Equal(t, []float32{2, 3}, floats(view))
	view.Close()
}

func TestIndexingLeavesNothingBehind(t *testing.T) {
	before := live()
	x := torch.Zeros(f32, cpu, 3, 4, 5)
	one, at := vector(1), torch.FromSlice([]int{0, 2})
	x.SetIndex(one, 1, torch.From(1), torch.NewAxis)
	x.AddIndex(one, torch.All, torch.Range{Stop: 2}, at)
	x.Index(1, torch.Ellipsis, at).Close()
	x.Index(1, torch.From(1), 0).Close()
	all := x.Index(torch.Ellipsis)
	all.Close()
	require.False(t, x.Closed())
	assert.Equal(t, 1.0, func() float64 { v := x.Index(1, 1, 1); defer v.Close(); return v.Item() }())
	_ = x.String()
	assert.Equal(t, before+3, live())
	x.Close()
	one.Close()
	at.Close()
	assert.Equal(t, before, live())
}

func TestStats(t *testing.T) {
	torch.ResetPeak()
	before := torch.Stats()
	const size = 1 << 20
	x := torch.Zeros(f32, cpu, size)
	during := torch.Stats()
	assert.Equal(t, before.Tensors+1, during.Tensors)
	assert.GreaterOrEqual(t, during.Bytes-before.Bytes, int64(4*size))
	assert.Less(t, during.Bytes-before.Bytes, int64(4*size+4096))
	x.Close()
	after := torch.Stats()
	assert.Equal(t, before.Tensors, after.Tensors)
	assert.Equal(t, before.Bytes, after.Bytes)
	assert.GreaterOrEqual(t, after.PeakBytes, during.Bytes)
	torch.ResetPeak()
	assert.Less(t, torch.Stats().PeakBytes, during.Bytes)
}

func TestTidyFreesAllButTheResult(t *testing.T) {
	torchtest.Scoped(t, func() {
		x := vector(1, 2)
		var inner torch.Tensor
		before := live()
		y := torch.Tidy(func() torch.Tensor {
			inner = x.AddScalar(1)
			return inner.MulScalar(2)
		})
		assert.True(t, inner.Closed())
		assert.Equal(t, before+1, live())
		assert.Equal(t, []float32{4, 6}, torch.ToSlice[float32](y))
	})
	y := torch.Tidy(func() torch.Tensor { return vector(1).AddScalar(1) }) // without a scope around
	assert.False(t, y.Closed())
	y.Close()
}

func TestTidyOfATensorThatWasThereBefore(t *testing.T) {
	torchtest.Scoped(t, func() {
		x := vector(1, 2)
		param := torch.NewParam(func() torch.Tensor { return vector(3) })
		defer param.Close()
		for _, given := range []torch.Tensor{x, param} {
			y := torch.Tidy(func() torch.Tensor { given.AddScalar(1); return given })
			assert.True(t, y.Same(given))
			y.Close()
			assert.False(t, given.Closed(), "closing the result leaves the input")
		}
		before := live()
		assert.False(t, torch.Tidy(func() torch.Tensor { x.AddScalar(1); return torch.Tensor{} }).Defined())
		caught(t, func() { torch.Tidy(func() torch.Tensor { return x.AddScalar(1).View(7) }) })
		assert.Equal(t, before, live())
	})
}

func TestTidyKeepsTheGraph(t *testing.T) {
	torchtest.Scoped(t, func() {
		x := vector(2).RequiresGrad_(true)
		torch.Tidy(func() torch.Tensor { return x.Square().Square() }).Sum().Backward()
		assert.Equal(t, []float32{32}, torch.ToSlice[float32](x.Grad()))
	})
}

func TestNewParamOutlivesScopes(t *testing.T) {
	var p torch.Tensor
	torch.Scoped(func() { p = torch.NewParam(func() torch.Tensor { return vector(1) }) })
	assert.False(t, p.Closed())
	p.Close()
}

func TestScopedErr(t *testing.T) {
	before := live()
	mine := errors.New("mine")
	var x torch.Tensor
	assert.NoError(t, torch.ScopedErr(func() error { x = vector(1, 2); return nil }))
	assert.True(t, x.Closed())
	assert.Same(t, mine, torch.ScopedErr(func() error { x = vector(1, 2); return mine }))
	assert.True(t, x.Closed())
	var e *torch.Error
	assert.ErrorAs(t, torch.ScopedErr(func() error { x = vector(1, 2); x.Size(7); return mine }), &e)
	assert.True(t, x.Closed())
	assert.Equal(t, before, live())
}
