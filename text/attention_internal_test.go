package text

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/torch/torchtest"
)

// One product for queries, keys and values is the three: outputs and all gradients, also where only some are trained.
func TestProjectTogether(t *testing.T) {
	for _, trained := range [][]bool{{true, true, true}, {false, true, false}} {
		torchtest.Scoped(t, func() {
			g := torch.NewGenerator(1)
			a := &BertSelfAttention{Query: nn.NewLinear(24, 24, true, g), Key: nn.NewLinear(24, 24, true, g), Value: nn.NewLinear(24, 24, true, g)}
			defer nn.Close(a)
			for i, l := range []*nn.Linear{a.Query, a.Key, a.Value} {
				l.Weight.RequiresGrad_(trained[i])
				l.Bias.RequiresGrad_(trained[i])
			}
			x := torch.Randn(g, torch.Float32, torch.CPU, 3, 5, 24).RequiresGrad_(true)
			ways := map[string]func(torch.Tensor) (q, k, v torch.Tensor){"apart": a.project, "together": a.projectTogether}
			outputs, gradients := map[string][]torch.Tensor{}, map[string]map[string]torch.Tensor{}
			for name, project := range ways {
				q, k, v := project(x)
				outputs[name] = []torch.Tensor{q, k, v}
				q.Mul(k).Sin().Add(v.Mul(v)).Sum().Backward()
				gradients[name] = map[string]torch.Tensor{"x": x.Grad().Clone()}
				x.ZeroGrad()
				for key, p := range nn.Params(a) {
					if grad := p.Grad(); grad.Defined() {
						gradients[name][key] = grad.Clone()
					}
					p.ZeroGrad()
				}
			}
			for i, want := range outputs["apart"] {
				assert.True(t, want.AllClose(outputs["together"][i], 1e-5, 1e-6))
			}
			require.Len(t, gradients["together"], len(gradients["apart"]))
			assert.Contains(t, gradients["together"], "key.weight")
			for key, want := range gradients["apart"] {
				assert.True(t, want.AllClose(gradients["together"][key], 1e-4, 1e-5), key)
			}
		})
	}
}
