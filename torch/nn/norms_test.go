package nn_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/torch/torchtest"
)

// A frozen norm is a batch norm in evaluation, with and without gradients, in both memory formats, and trains nothing.
func TestFrozenBatchNorm(t *testing.T) {
	g := torch.NewGenerator(1)
	frozen, norm := nn.EmptyFrozenBatchNorm(6), nn.NewBatchNorm(6)
	defer nn.Close(frozen)
	defer nn.Close(norm)
	frozen.Init()
	norms := []nn.Norm{frozen, norm}
	torch.NoGrad(func() {
		for i, p := range []torch.Tensor{norm.Weight, norm.Bias, norm.RunningMean, norm.RunningVar} {
			p.Uniform_(0.5, 1.5, g)
			[]torch.Tensor{frozen.Weight, frozen.Bias, frozen.RunningMean, frozen.RunningVar}[i].Copy_(p)
		}
	})
	assert.Equal(t, 0, nn.NumParams(frozen), "all it has are buffers")
	nn.SetTraining(frozen, true)
	torchtest.Scoped(t, func() {
		for _, last := range []bool{false, true} {
			x := torch.Randn(g, torch.Float32, torch.CPU, 2, 6, 3, 4)
			if last {
				x = x.ContiguousAs(torch.ChannelsLast)
			}
			var outs, grads []torch.Tensor
			for _, n := range norms {
				in := x.Detach().Clone().RequiresGrad_(true)
				y := n.Forward(in)
				assert.Equal(t, x.Strides(), y.Strides())
				y.Square().Sum().Backward()
				outs, grads = append(outs, y), append(grads, in.Grad())
			}
			torchtest.Close(t, outs[1], outs[0], 1e-5, 1e-6)
			torchtest.Close(t, grads[1], grads[0], 1e-5, 1e-6)
			torch.NoGrad(func() { torchtest.Close(t, outs[1], frozen.Forward(x), 1e-5, 1e-6) })
		}
		frozen.Eps = 0
		torch.NoGrad(func() { frozen.RunningVar.Fill_(1e-12) })
		y := frozen.Forward(torch.Zeros(torch.Float32, torch.CPU, 1, 6, 1, 1).RequiresGrad_(true))
		assert.Greater(t, y.Abs().Max().Item(), 1e4, "an eps of 0 is taken")
	})
}

func TestGroupNorm(t *testing.T) {
	n := nn.EmptyGroupNorm(2, 4)
	defer nn.Close(n)
	n.Init()
	torchtest.Scoped(t, func() {
		y := n.Forward(torch.Randn(nil, torch.Float32, torch.CPU, 3, 4, 5, 5))
		groups := y.Reshape(3, 2, -1)
		require.InDelta(t, 0, groups.MeanDim(2).Abs().Max().Item(), 1e-6)
		require.InDelta(t, 1, groups.Square().MeanDim(2).Min().Item(), 1e-4)
	})
	keys := []string{}
	for _, s := range nn.State(n) {
		keys = append(keys, s.Name)
	}
	assert.Equal(t, []string{"weight", "bias"}, keys)
}
