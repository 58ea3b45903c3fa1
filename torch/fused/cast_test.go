package fused_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/fused"
	"github.com/thaw-ml/thaw/torch/torchtest"
)

func TestCastOnCPU(t *testing.T) { checkCast(t, cpu) }

// Steps through a Cast are those without, bit for bit, also after parameters have moved and after steps that broke off.
func checkCast(t *testing.T, on torch.Device) {
	torchtest.Scoped(t, func() {
		n := newNetwork(on)
		c := fused.NewCast(n.trained[:len(n.trained)-1], n.frozen, torch.BFloat16)
		defer c.Close()
		loss := func() torch.Tensor { return n.forward().Square().Mean() }
		step := func(c *fused.Cast) (all outs) {
			require.NoError(t, c.Run(func() torch.Tensor {
				y := loss()
				all = outs{y.ToDevice(cpu)}
				return y
			}, nil))
			for _, p := range n.trained {
				all = append(all, p.Grad().ToDevice(cpu).Contiguous())
				p.ZeroGrad()
			}
			return all
		}
		for range 3 {
			want, got := step(nil), step(c)
			require.Len(t, got, 1+len(n.trained))
			for i := range want {
				torchtest.Close(t, want[i], got[i], 0, 0, i)
			}
			torch.NoGrad(func() {
				for _, p := range n.trained {
					p.MulScalar_(1.25)
				}
			})
			// A step whose loss is refused leaves no gradients, and so does one that panics.
			refused := errors.New("refused")
			assert.Same(t, refused, c.Run(loss, func(l torch.Tensor) error {
				assert.Greater(t, l.Item(), 0.0)
				return refused
			}))
			assert.Error(t, torch.Try(func() { _ = c.Run(func() torch.Tensor { return n.forward().View(7) }, nil) }))
			for _, p := range n.trained {
				assert.False(t, p.Grad().Defined())
			}
		}
		open := torch.Stats().Tensors
		c.Close()
		c.Close()
		assert.Equal(t, open-2, torch.Stats().Tensors)
		var none *fused.Cast
		none.Close()
	})
}

// Where the frozen parameters do not fit, the copies of the trained ones are freed.
func TestCastWithoutRoom(t *testing.T) {
	torchtest.Scoped(t, func() {
		fits, strided := torch.Zeros(f32, cpu, 3), torch.Zeros(f32, cpu, 4, 4).T().Narrow(0, 0, 2)
		open := torch.Stats().Tensors
		err := torch.Try(func() { fused.NewCast([]torch.Tensor{fits}, []torch.Tensor{strided}, torch.BFloat16) })
		assert.ErrorContains(t, err, "dense float32 tensors on one device")
		assert.Equal(t, open, torch.Stats().Tensors)
	})
}
