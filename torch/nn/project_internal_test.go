package nn

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/torchtest"
)

// One product for queries, keys and values is the three: outputs and all gradients, also where only some are trained.
func TestProjectJoined(t *testing.T) {
	for _, trained := range [][]bool{{true, true, true}, {false, true, false}} {
		torchtest.Scoped(t, func() {
			g := torch.NewGenerator(1)
			var layers []*Linear
			for range 3 {
				layers = append(layers, NewLinear(24, 24, LinearOptions{}, g))
			}
			defer Close(layers)
			require.True(t, joinable(layers))
			for i, l := range layers {
				RequireGrad(l, trained[i])
			}
			x := torch.Randn(g, torch.Float32, torch.CPU, 3, 5, 24).RequiresGrad_(true)
			run := func(y []torch.Tensor) (gradients map[string]torch.Tensor) {
				y[0].Mul(y[1]).Sin().Add(y[2].Mul(y[2])).Sum().Backward()
				gradients = map[string]torch.Tensor{"x": x.Grad().Clone()}
				x.ZeroGrad()
				for key, p := range Params(layers) {
					if grad := p.Grad(); grad.Defined() {
						gradients[key] = grad.Clone()
					}
					p.ZeroGrad()
				}
				return gradients
			}
			apart, joined := Project(x, layers...), projectJoined(x, layers)
			want, got := run(apart), run(joined)
			for i := range apart {
				torchtest.Close(t, apart[i], joined[i], 1e-5, 1e-6)
			}
			require.Len(t, got, len(want))
			assert.Contains(t, got, "1.weight")
			for key := range want {
				torchtest.Close(t, want[key], got[key], 1e-4, 1e-5, key)
			}
		})
	}
}

func TestLayersThatAreNotJoined(t *testing.T) {
	a, b := NewLinear(3, 2, LinearOptions{}, nil), NewLinear(3, 2, LinearOptions{}, nil)
	wide, plain := NewLinear(3, 5, LinearOptions{}, nil), NewLinear(3, 2, LinearOptions{NoBias: true}, nil)
	defer Close([]*Linear{a, b, wide, plain})
	assert.True(t, joinable([]*Linear{a, b}))
	for _, layers := range [][]*Linear{{a}, {a, wide}, {a, plain}, {a, {Weight: b.Weight, Bias: b.Bias, Adapter: unchanged{}}}} {
		assert.False(t, joinable(layers))
	}
}

type unchanged struct{}

func (unchanged) Forward(_, y torch.Tensor) torch.Tensor { return y }
