package dist_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/cuda"
	"github.com/thaw-ml/thaw/torch/dist"
)

type overNCCL struct {
	Sum, From []float32
	Gradient  []float32
}

func init() {
	programs["nccl"] = func(g *dist.Group) (_ any, err error) {
		var out overNCCL
		fail := func(e error) {
			if err == nil {
				err = e
			}
		}
		torch.Scoped(func() {
			gpu, r := torch.CUDA(g.Rank()), float32(g.Rank())
			sum, from := torch.FromSlice([]float32{1, r}).ToDevice(gpu), torch.FromSlice([]float32{r}).ToDevice(gpu)
			fail(g.AllReduce("adding up", dist.Sum, sum))
			fail(g.Broadcast("sending", 1, from))
			out.Sum, out.From = torch.ToSlice[float32](sum.ToDevice(torch.CPU)), torch.ToSlice[float32](from.ToDevice(torch.CPU))
			p := torch.FromSlice([]float32{1, 2}).ToDevice(gpu).RequiresGrad_(true)
			reducer, e := g.NewReducer([]torch.Tensor{p})
			if fail(e); err != nil {
				return
			}
			defer reducer.Close()
			for range 3 {
				p.SetGrad(torch.Tensor{})
				fail(reducer.Arm())
				p.MulScalar(float64(1 + r)).Sum().Backward()
			}
			out.Gradient = torch.ToSlice[float32](p.Grad().ToDevice(torch.CPU))
			fail(g.Barrier("ending"))
		})
		return out, err
	}
}

// Two processes with a GPU each.
func TestNCCL(t *testing.T) {
	if err := cuda.Check(); err != nil {
		t.Skipf("needs two GPUs: %v", err)
	}
	if devices, err := cuda.Devices(); err != nil || len(devices) < 2 {
		t.Skipf("needs two GPUs, found %d", len(devices))
	}
	for _, got := range all[overNCCL](t, "nccl", 2) {
		assert.Equal(t, []float32{2, 1}, got.Sum)
		assert.Equal(t, []float32{1}, got.From)
		assert.Equal(t, []float32{1.5, 1.5}, got.Gradient)
	}
}
