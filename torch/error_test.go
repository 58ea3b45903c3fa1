package torch_test

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/torchtest"
)

func TestErrorsNameTheOperands(t *testing.T) {
	torchtest.Scoped(t, func() {
		a, ints := torch.Zeros(f32, cpu, 2, 3), torch.FromSlice([]int{1, 2})
		e := caught(t, func() { a.MM(torch.Zeros(f64, cpu, 4, 5)) })
		assert.Equal(t, "aten::mm", e.Op)
		assert.Equal(t, [][]int{{2, 3}, {4, 5}}, e.Shapes)
		assert.Equal(t, []torch.DType{f32, f64}, e.DTypes)
		assert.Equal(t, []torch.Device{cpu, cpu}, e.Device)
		assert.Contains(t, e.Error(), "aten::mm: ")
		assert.Contains(t, e.Error(), "(given float32 [2, 3], float64 [4, 5])")
		assert.NotContains(t, e.Error(), "Exception raised from", "no C++ stack")

		e = caught(t, func() { a.Add(ints) })
		assert.Equal(t, "aten::add.Tensor", e.Op)
		assert.Contains(t, e.Error(), "int64 [2]")
		e = caught(t, func() { torch.Cat([]torch.Tensor{a, torch.Zeros(f32, cpu, 3, 3, 3)}, 0) })
		assert.Equal(t, [][]int{{2, 3}, {3, 3, 3}}, e.Shapes)
		e = caught(t, func() { torch.Linear(a, torch.Zeros(f32, cpu, 4, 4), none) })
		assert.Contains(t, e.Error(), "float32 [4, 4]")
		e = caught(t, func() { torch.Embedding(a, vector(1), -1) })
		assert.Contains(t, e.Error(), "float32 [1]")
		caught(t, func() { ints.BitwiseAnd(vector(1, 2)) })
		caught(t, func() { a.View(4, 4) })
		caught(t, func() { a.T().View(6) })
		e = caught(t, func() { a.AddScalar("two") })
		assert.Contains(t, e.Error(), "a scalar of type string")
		e = caught(t, func() { torch.Einsum("ij,jk", []torch.Tensor{a}) })
		assert.Equal(t, "aten::einsum", e.Op)
	})
}

func TestErrorKinds(t *testing.T) {
	torchtest.Scoped(t, func() {
		a := torch.Zeros(f32, cpu, 2, 3)
		assert.Equal(t, torch.IndexError, caught(t, func() { a.Select(0, 5) }).Kind)
		assert.Equal(t, torch.IndexError, caught(t, func() { a.Size(2) }).Kind)
		assert.Equal(t, torch.IndexError, caught(t, func() { a.Softmax(4) }).Kind)
		assert.Equal(t, torch.IndexError, caught(t, func() { a.Size(-3) }).Kind)
		assert.Equal(t, 3, a.Size(-1))
		assert.Equal(t, torch.OutOfMemory, caught(t, func() { torch.Empty(f32, cpu, 1<<50) }).Kind)
		assert.Equal(t, torch.OtherError, caught(t, func() { a.MM(a) }).Kind)
		assert.Equal(t, torch.UnimplementedError, caught(t, func() {
			torch.FromSlice([]bool{true}).Erfinv().Unique(true, true, true)
			torch.Zeros(torch.Bool, cpu, 2, 2).LinalgEigh()
		}).Kind)
	})
}

func TestTry(t *testing.T) {
	assert.NoError(t, torch.Try(func() {}))
	err := torch.Try(func() { torch.Zeros(f32, cpu, -1) })
	var e *torch.Error
	assert.ErrorAs(t, err, &e)
	assert.PanicsWithValue(t, "other", func() { _ = torch.Try(func() { panic("other") }) })
	plain := errors.New("plain")
	assert.PanicsWithError(t, "plain", func() { _ = torch.Try(func() { panic(plain) }) })
	var nothing []int
	assert.Panics(t, func() { _ = torch.Try(func() { nothing[len(nothing)] = 1 }) })
	assert.Panics(t, func() { _ = torch.Try(func() { panic(&runtime.PanicNilError{}) }) })
}

func TestCUDAWithoutCUDA(t *testing.T) {
	if torch.CUDAAvailable() {
		t.Skip("this machine has a GPU")
	}
	if why := torch.CUDA(0).Check().Error(); !strings.Contains(why, "-tags cuda") {
		t.Skip("built with CUDA, whose tests are in torch/cuda: ", why)
	}
	for name, f := range map[string]func(){
		"made there": func() { torch.Zeros(f32, torch.CUDA(0), 2) },
		"sent there": func() {
			x := vector(1)
			defer x.Close()
			x.ToDevice(torch.CUDA(0))
		},
		"drawn there": func() { torch.Rand(nil, f32, torch.CUDA(-1), 2) },
	} {
		e := caught(t, f)
		assert.Contains(t, e.Error(), "-tags cuda", name)
	}
}

func TestErrOutOfMemory(t *testing.T) {
	err := torch.Try(func() { torch.Empty(f32, cpu, 1<<50) })
	assert.ErrorIs(t, err, torch.ErrOutOfMemory)
	assert.ErrorIs(t, fmt.Errorf("loading the model: %w", err), torch.ErrOutOfMemory)
	other := torch.Try(func() { torch.Tensor{}.Size(0) })
	assert.Error(t, other)
	assert.NotErrorIs(t, other, torch.ErrOutOfMemory)
}

func TestTryErr(t *testing.T) {
	mine := errors.New("mine")
	assert.NoError(t, torch.TryErr(func() error { return nil }))
	assert.Same(t, mine, torch.TryErr(func() error { return mine }))
	var e *torch.Error
	assert.ErrorAs(t, torch.TryErr(func() error { torch.Tensor{}.Size(0); return mine }), &e)
	assert.PanicsWithValue(t, "other", func() { _ = torch.TryErr(func() error { panic("other") }) })
}
