package torch_test

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/torchtest"
)

// elsewhere runs f on another goroutine and waits for it.
func elsewhere(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	<-done
}

func TestGradGuards(t *testing.T) {
	torchtest.Scoped(t, func() {
		x := leaf(1)
		assert.True(t, torch.GradEnabled())
		torch.NoGrad(func() {
			assert.False(t, torch.GradEnabled())
			assert.False(t, x.Exp().RequiresGrad())
			elsewhere(func() { assert.True(t, torch.GradEnabled()) })
			torch.EnableGrad(func() {
				assert.True(t, x.Exp().RequiresGrad())
				torch.NoGrad(func() { assert.False(t, torch.GradEnabled()) })
				assert.True(t, torch.GradEnabled())
			})
			assert.False(t, torch.GradEnabled())
		})
		assert.True(t, x.Exp().RequiresGrad())
	})
}

func TestInference(t *testing.T) {
	torchtest.Scoped(t, func() {
		x := leaf(2)
		var made torch.Tensor
		torch.Inference(func() {
			made = x.MulScalar(3)
			assert.False(t, made.RequiresGrad())
			made.AddScalar_(1)
			assert.Equal(t, []float32{7}, floats(made))
			assert.Equal(t, "tensor([7.])", made.String())
			torch.Inference(func() { assert.False(t, torch.GradEnabled()) })
			assert.False(t, torch.GradEnabled())
			elsewhere(func() { assert.True(t, torch.GradEnabled()) })
		})
		assert.True(t, torch.GradEnabled())
		e := caught(t, func() { x.Mul(made) })
		assert.Contains(t, e.Error(), "nference tensors cannot be saved for backward")
	})
}

func TestAutocast(t *testing.T) {
	torchtest.Scoped(t, func() {
		a, b := torch.Ones(f32, cpu, 2, 2), torch.Ones(f32, cpu, 2, 2)
		product := func() torch.DType { return a.MM(b).DType() }
		for _, d := range []torch.DType{torch.BFloat16, torch.Float16} {
			torch.Autocast(d, func() {
				assert.Equal(t, d, product())
				assert.Equal(t, d, torch.Linear(a, b, none).DType())
				assert.Equal(t, f32, a.Add(b).DType(), "add keeps its dtype")
				assert.Equal(t, f32, torch.MSELoss(a.MM(b), a, torch.ReduceMean).DType(), "losses run in float32")
				assert.Equal(t, torch.Int64, torch.FromSlice([]int{1}).DType())
				elsewhere(func() { torch.Scoped(func() { assert.Equal(t, f32, product()) }) })
				torch.NoAutocast(func() { assert.Equal(t, f32, product()) })
				torch.Autocast(torch.BFloat16, func() { assert.Equal(t, torch.BFloat16, product()) })
				assert.Equal(t, d, product())
			})
			assert.Equal(t, f32, product())
		}
	})
}

func TestAutocastCarriesGradients(t *testing.T) {
	torchtest.Scoped(t, func() {
		w := torch.Ones(f32, cpu, 2, 2).RequiresGrad_(true)
		var loss torch.Tensor
		torch.Autocast(torch.BFloat16, func() { loss = torch.Ones(f32, cpu, 3, 2).MM(w).To(f32).Sum() })
		loss.Backward()
		assert.Equal(t, f32, w.Grad().DType())
		assert.Equal(t, []float32{3, 3, 3, 3}, floats(w.Grad()))
	})
}

func TestGuardsEndByPanic(t *testing.T) {
	torchtest.Scoped(t, func() {
		a := torch.Ones(f32, cpu, 2, 2)
		b := vector(1)
		bad := func() { a.MM(b) }
		for name, guard := range map[string]func(func()){
			"NoGrad": torch.NoGrad, "EnableGrad": torch.EnableGrad, "Inference": torch.Inference,
			"NoAutocast": torch.NoAutocast, "Scoped": torch.Scoped, "Unscoped": torch.Unscoped,
			"Autocast": func(f func()) { torch.Autocast(torch.BFloat16, f) },
		} {
			caught(t, func() { guard(bad) })
			assert.True(t, torch.GradEnabled(), name)
			assert.Equal(t, f32, a.MM(a).DType(), name)
		}
		torch.NoGrad(func() {
			caught(t, func() { torch.EnableGrad(bad) })
			assert.False(t, torch.GradEnabled())
		})
		assert.PanicsWithValue(t, "other", func() { torch.NoGrad(func() { panic("other") }) })
		assert.True(t, torch.GradEnabled())
	})
}

func TestSingleThreadedIsOfOneThread(t *testing.T) {
	before := torch.NumThreads()
	torch.SingleThreaded(func() {
		assert.Equal(t, 1, torch.NumThreads())
		other := make(chan int)
		go func() {
			runtime.LockOSThread() // another thread, to the end of the goroutine
			other <- torch.NumThreads()
		}()
		assert.Equal(t, before, <-other)
	})
	assert.Equal(t, before, torch.NumThreads())
}
