package text

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/torch/torchtest"
)

// What is computed of the first token alone is what the whole layer makes of it, and so are all gradients, with
// padding and without.
func TestForwardFirst(t *testing.T) {
	torchtest.Scoped(t, func() {
		g := torch.NewGenerator(1)
		b, err := newBert(Config{
			VocabSize: 9, HiddenSize: 24, NumHiddenLayers: 1, NumAttentionHeads: 3, IntermediateSize: 40, HiddenAct: "gelu",
			MaxPositionEmbeddings: 8, TypeVocabSize: 2, LayerNormEps: 1e-12,
		}, false)
		require.NoError(t, err)
		defer nn.Close(b)
		layer := b.Encoder.Layer[0]
		torch.NoGrad(func() {
			for _, p := range nn.Params(layer) {
				p.Normal_(0, 0.3, g).RequiresGrad_(true)
			}
		})
		nn.SetTraining(b, false)
		x := torch.Randn(g, torch.Float32, torch.CPU, 3, 5, 24).RequiresGrad_(true)
		inf := float32(math.Inf(-1))
		padded := torch.FromSlice([]float32{0, 0, 0, 0, 0, 0, 0, 0, inf, inf, 0, inf, inf, inf, inf}, 3, 1, 1, 5)
		for _, mask := range []torch.Tensor{{}, padded} {
			run := func(forward func(x, mask torch.Tensor) torch.Tensor) (torch.Tensor, map[string]torch.Tensor) {
				y := forward(x, mask).Select(1, 0)
				y.Sin().Sum().Backward()
				gradients := map[string]torch.Tensor{"x": x.Grad().Clone()}
				x.ZeroGrad()
				for key, p := range nn.Params(layer) {
					gradients[key] = p.Grad().Clone()
					p.ZeroGrad()
				}
				return y.Detach(), gradients
			}
			want, gradients := run(layer.Forward)
			got, others := run(layer.ForwardFirst)
			assert.True(t, want.AllClose(got, 1e-5, 1e-6))
			require.Len(t, others, 17) // 16 parameters and x
			for key, grad := range gradients {
				assert.True(t, grad.AllClose(others[key], 1e-4, 1e-5), key)
			}
		}
	})
}
