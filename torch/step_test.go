package torch_test

import (
	"math"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
)

// toy is a network of two layers, [16, 8] to [16, 4], written with operators, and what one step of it takes.
type toy struct {
	x, y   torch.Tensor
	params []torch.Tensor
	lr     float64
}

func newToy(seed uint64) (n *toy) {
	torch.Unscoped(func() {
		g := torch.NewGenerator(seed)
		param := func(shape ...int) torch.Tensor {
			p := torch.Randn(g, f32, cpu, shape...)
			defer p.Close()
			return p.MulScalar(0.3).RequiresGrad_(true)
		}
		n = &toy{
			x:      torch.Randn(g, f32, cpu, 16, 8),
			y:      torch.Randint(0, 4, []int{16}, g, i64, cpu),
			params: []torch.Tensor{param(16, 8), param(16), param(4, 16), param(4)},
			lr:     0.05,
		}
	})
	return n
}

// step trains once and gives the loss.
func (n *toy) step() (loss float64) {
	torch.Scoped(func() {
		hidden := torch.Linear(n.x, n.params[0], n.params[1]).Tanh() // [16, 16]
		logits := torch.Linear(hidden, n.params[2], n.params[3])     // [16, 4]
		l := torch.CrossEntropyLoss(logits, n.y, none, torch.ReduceMean, -100, 0)
		l.Backward()
		torch.NoGrad(func() {
			for _, p := range n.params {
				p.AddScaled_(p.Grad(), -n.lr)
				p.ZeroGrad()
			}
		})
		loss = l.Item()
	})
	return loss
}

func (n *toy) close() {
	for _, p := range append(n.params, n.x, n.y) {
		p.Close()
	}
}

func TestGoroutinesTrainAlike(t *testing.T) {
	const steps = 200
	train := func(seed uint64) (losses []float64) {
		n := newToy(seed)
		defer n.close()
		for range steps {
			losses = append(losses, n.step())
		}
		return losses
	}
	before := live()
	var alone, together [8][]float64
	for i := range alone {
		alone[i] = train(uint64(i))
	}
	var wg sync.WaitGroup
	for i := range together {
		wg.Go(func() { together[i] = train(uint64(i)) })
	}
	wg.Wait()
	assert.Equal(t, alone, together, "the same seed gives the same losses to the last digit")
	for _, losses := range alone {
		require.False(t, math.IsNaN(losses[steps-1]))
		assert.Less(t, losses[steps-1], 0.8*losses[0])
	}
	assert.Equal(t, before, live())
}

func TestGoroutinesShareATensor(t *testing.T) {
	x := torch.Ones(f32, cpu, 64)
	defer x.Close()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 100 {
				torch.Scoped(func() {
					assert.Equal(t, 64.0*float64(i), x.MulScalar(i).Sum().Item())
					e := caught(t, func() { x.MM(x) })
					assert.Equal(t, "aten::mm", e.Op)
				})
			}
		})
	}
	wg.Wait()
}
