package dist_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/dist"
)

type reduced struct {
	Steps   [][]float32 // the gradients of the first parameter after each
	Buckets []int64
}

func init() {
	// A network of two layers; each rank has the rows of its own, of which rank 2 has none.
	programs["reduce"] = func(g *dist.Group) (_ any, err error) {
		var out reduced
		fail := func(e error) {
			if err == nil {
				err = e
			}
		}
		torch.Scoped(func() {
			torch.ManualSeed(1)
			params := []torch.Tensor{
				torch.Randn(torch.DefaultGenerator(), torch.Float32, torch.CPU, 3, 4).RequiresGrad_(true), torch.Randn(torch.DefaultGenerator(), torch.Float32, torch.CPU, 2, 3).RequiresGrad_(true),
			}
			backward := func(scale float64) {
				x := torch.FromSlice([]float32{1, 2, 3, float32(g.Rank())}, 1, 4)
				x.MatMul(params[0].T()).Tanh().MatMul(params[1].T()).Sum().MulScalar(scale).Backward()
			}
			keep := func() {
				out.Steps = append(out.Steps, torch.ToSlice[float32](params[0].Grad().Contiguous().Flatten(0, -1)))
				for _, p := range params {
					p.SetGrad(torch.Tensor{})
				}
			}
			has := g.Rank() < 2
			if has {
				backward(1)
			}
			r, e := g.NewReducer(params)
			if fail(e); err != nil {
				return
			}
			defer r.Close()
			fail(r.Reduce())
			keep()
			for range 3 { // reduced while backward goes on, where all have rows
				if g.Size() == 2 {
					fail(r.Arm())
					backward(1)
				} else {
					if has {
						backward(1)
					}
					fail(r.Reduce())
				}
				keep()
			}
			if has { // two parts, of which the second is reduced with what the first left
				backward(0.25)
			}
			if g.Size() == 2 {
				fail(r.Arm())
				backward(0.75)
			} else {
				if has {
					backward(0.75)
				}
				fail(r.Reduce())
			}
			keep()
			out.Buckets = r.Buckets()
		})
		return out, err
	}
}

func TestReducer(t *testing.T) {
	for _, size := range []int{2, 3} {
		t.Run(fmt.Sprint(size, " ranks"), func(t *testing.T) {
			all := all[reduced](t, "reduce", size)
			want := expected(size)
			for r, got := range all {
				assert.Len(t, got.Steps, 5)
				for i, s := range got.Steps {
					assert.InDeltaSlice(t, want, s, 1e-6, "rank %d, step %d", r, i)
					assert.Equal(t, all[0].Steps[i], s, "ranks differ")
				}
				assert.Equal(t, []int64{4 * (12 + 6)}, got.Buckets)
			}
			assert.Equal(t, all[0].Steps[0], all[0].Steps[1], "with and without overlap")
		})
	}
}

// expected is the mean over so many ranks, of which two have a row.
func expected(size int) (grad []float32) {
	torch.Scoped(func() {
		torch.ManualSeed(1)
		a := torch.Randn(torch.DefaultGenerator(), torch.Float32, torch.CPU, 3, 4).RequiresGrad_(true)
		b := torch.Randn(torch.DefaultGenerator(), torch.Float32, torch.CPU, 2, 3)
		x := torch.FromSlice([]float32{1, 2, 3, 0, 1, 2, 3, 1}, 2, 4)
		x.MatMul(a.T()).Tanh().MatMul(b.T()).Sum().MulScalar(1 / float64(size)).Backward()
		grad = torch.ToSlice[float32](a.Grad().Contiguous().Flatten(0, -1))
	})
	return grad
}

func TestReducerNamesWhoDiffers(t *testing.T) {
	ranks, wait := start(t, "differ", 2, 10*time.Second)
	wait()
	for _, r := range ranks {
		assert.Error(t, r.Err)
		assert.Contains(t, r.Log.String(), "agreeing on 1 tensors to reduce")
	}
}

func init() {
	programs["differ"] = func(g *dist.Group) (any, error) {
		p := torch.Zeros(torch.Float32, torch.CPU, 2+g.Rank()).RequiresGrad_(true)
		_, err := g.NewReducer([]torch.Tensor{p})
		return nil, err
	}
}
