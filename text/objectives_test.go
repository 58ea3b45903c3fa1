package text_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune/train/objective"
	"github.com/thaw-ml/thaw/text"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/torch/optim"
	"github.com/thaw-ml/thaw/torch/torchtest"
)

// objectivesGolden is testdata/objectives.json.gz, see objectives.py.
type objectivesGolden struct {
	LR, Clip    float64
	WeightDecay float64 `json:"weight_decay"`
	WarmUp      int     `json:"warm_up"`
	Cases       []struct {
		ProblemType objective.ProblemType `json:"problem_type"`
		Labels      int
		Classifier  struct {
			Weight [][]float32
			Bias   []float32
		}
		Losses      []float64
		LogitsAfter [][]float32 `json:"logits_after"`
		Steps       []struct {
			IDs     [][]int64
			Targets []any // numbers, or lists of 0 and 1
		}
	}
}

// Thirty steps on a number and on several labels have the losses of transformers' own. Both sum in another order, and
// AdamW's first moves are signs, which make more of it: hence 1e-4.
func TestThirtyStepsOfOtherObjectives(t *testing.T) {
	g := torchtest.Golden[objectivesGolden](t, "objectives.json.gz")
	for _, want := range g.Cases {
		t.Run(string(want.ProblemType), func(t *testing.T) {
			names := make([]string, want.Labels)
			for i := range names {
				names[i] = string(rune('a' + i))
			}
			head := text.Head{Classes: names, Problem: want.ProblemType, Pooling: text.CLS}
			c, err := text.LoadClassifier("testdata/tiny", "testdata/tiny/bare.safetensors", head)
			require.NoError(t, err)
			defer c.Close()
			torch.Scoped(func() {
				var weight []float32
				for _, row := range want.Classifier.Weight {
					weight = append(weight, row...)
				}
				c.Linear.Weight.Copy_(torch.FromSlice(weight, want.Labels, c.Config.HiddenSize))
				c.Linear.Bias.Copy_(torch.FromSlice(want.Classifier.Bias))
			})
			nn.RequireGrad(c, true)
			var params []torch.Tensor
			for _, p := range nn.Params(c) {
				params = append(params, p)
			}
			o := optim.NewAdamW(optim.AdamWOptions{}, &optim.Group{Params: params, WeightDecay: g.WeightDecay})
			defer o.Close()
			schedule := optim.Linear(g.WarmUp, len(want.Steps))
			worst := 0.0
			for i, s := range want.Steps {
				torch.Scoped(func() {
					b := paddedBatch(s.IDs)
					b.Target = targetsOf(s.Targets)
					l := c.Objective().Loss(nn.Values{c.Logits(b)}, b.Targets())
					l.Backward()
					optim.ClipGradNorm(params, g.Clip)
					o.Groups()[0].LR = g.LR * schedule(i)
					o.Step()
					o.ZeroGrad()
					worst = max(worst, math.Abs(l.Item()-want.Losses[i])/want.Losses[i])
				})
			}
			t.Logf("largest relative difference of a loss %.1e", worst)
			assert.Less(t, worst, 1e-4)
			torch.Scoped(func() {
				got := torch.ToSlice[float32](c.Logits(paddedBatch(want.Steps[0].IDs)).Detach())
				for i, row := range want.LogitsAfter {
					for j, logit := range row {
						assert.InDelta(t, logit, got[i*want.Labels+j], 1e-4)
					}
				}
			})
		})
	}
}

// paddedBatch pads ids at the end with 0.
func paddedBatch(ids [][]int64) *text.Batch {
	b := &text.Batch{}
	for _, row := range ids {
		b.Length, b.T = append(b.Length, len(row)), max(b.T, len(row))
	}
	for i, row := range ids {
		b.Index = append(b.Index, i)
		b.IDs = append(append(b.IDs, row...), make([]int64, b.T-len(row))...)
	}
	return b
}

func targetsOf(values []any) (targets objective.Targets) {
	for _, v := range values {
		switch v := v.(type) {
		case float64:
			targets.Values = append(targets.Values, v)
		case []any:
			labels := []int{}
			for k, on := range v {
				if on.(float64) == 1 {
					labels = append(labels, k)
				}
			}
			targets.Labels, targets.Width = append(targets.Labels, labels), len(v)
		}
	}
	return targets
}
