package text_test

import (
	"math"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune/train/objective"
	"github.com/thaw-ml/thaw/text"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/torch/optim"
	"github.com/thaw-ml/thaw/torch/torchtest"
)

func TestMain(m *testing.M) {
	// No model of this machine's caches is known to the tests.
	for _, name := range []string{"HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "TORCH_HOME"} {
		os.Setenv(name, "/nonexistent")
	}
	torchtest.Main(m)
}

// The goldens are testdata/bert.py's.

// headGolden is a classifier's weights.
type headGolden struct{ Weight, Bias torchtest.Stored }

func (h headGolden) put(t testing.TB, c *text.Classifier) {
	torch.Scoped(func() {
		torch.NoGrad(func() { c.Linear.Weight.Copy_(h.Weight.Tensor(t)); c.Linear.Bias.Copy_(h.Bias.Tensor(t)) })
	})
}

// batchGolden is a padded batch as transformers takes it.
type batchGolden struct {
	IDs   [][]int64 `json:"input_ids"`
	Types [][]int64 `json:"token_type_ids"`
	Mask  [][]int   `json:"attention_mask"`
}

func (g batchGolden) batch() *text.Batch {
	b := &text.Batch{T: len(g.IDs[0])}
	for i, row := range g.IDs {
		n := 0
		for _, m := range g.Mask[i] {
			n += m
		}
		b.Length = append(b.Length, n)
		b.IDs, b.Types = append(b.IDs, row...), append(b.Types, g.Types[i]...)
	}
	return b
}

func classes(n int) []string { return []string{"a", "b", "c", "d"}[:n] }

func TestTiny(t *testing.T) {
	g := torchtest.Golden[struct {
		batchGolden
		Layouts    map[string][]string
		Classifier headGolden
		Hidden     torchtest.Stored
		Pooled     torchtest.Stored
		Logits     torchtest.Stored
		MeanLogits torchtest.Stored `json:"mean_logits"`
	}](t, "tiny/golden.json")
	require.Len(t, g.Layouts, 4)
	for layout := range g.Layouts {
		for _, pooling := range []text.Pooling{text.CLS, text.Mean} {
			t.Run(layout+" "+string(pooling), func(t *testing.T) {
				c, err := text.LoadClassifier("testdata/tiny", "testdata/tiny/"+layout+".safetensors", text.Head{Classes: classes(3), Pooling: pooling, Seed: 1})
				require.NoError(t, err)
				defer c.Close()
				g.Classifier.put(t, c)
				torchtest.Scoped(t, func() {
					b := g.batch()
					hidden := nn.RunStages(c.Stages()[:3], b, nil)[0]
					for i, n := range b.Length {
						torchtest.Close(t, g.Hidden.Tensor(t).Select(0, i).Narrow(0, 0, n), hidden.Select(0, i).Narrow(0, 0, n), 0, 1e-5)
					}
					if pooling == text.Mean {
						torchtest.Close(t, g.MeanLogits.Tensor(t), c.Logits(b), 0, 1e-5)
					} else if layout != "no_pooler" {
						torchtest.Close(t, g.Logits.Tensor(t), c.Logits(b), 0, 1e-5)
					}
				})
			})
		}
	}
}

// minilm gives the folder of the real weights, which third_party/fetch.sh --set reviews brings.
func minilm(t testing.TB) string {
	const folder = "../examples/reviews/data/model"
	if _, err := os.Stat(folder); err != nil {
		t.Skip("the real weights are not there: third_party/fetch.sh --set reviews")
	}
	return folder
}

func TestMiniLM(t *testing.T) {
	type hiddenGolden struct {
		batchGolden
		Logits, Pooled torchtest.Stored
	}
	g := torchtest.Golden[struct {
		hiddenGolden
		Tokens     [][]int
		Hidden     []torchtest.Stored
		Alone      torchtest.Stored
		Classifier headGolden
		Full       struct {
			hiddenGolden
			Tokens []int
			Hidden torchtest.Stored
		}
	}](t, "minilm.json")
	c, err := text.LoadClassifier(minilm(t), "", text.Head{Classes: classes(3), Pooling: text.CLS, Seed: 1})
	require.NoError(t, err)
	defer c.Close()
	g.Classifier.put(t, c)
	torchtest.Scoped(t, func() {
		b := g.batch()
		hidden := nn.RunStages(c.Stages()[:7], b, nil)[0]
		for i, at := range g.Tokens {
			torchtest.Close(t, g.Hidden[i].Tensor(t), hidden.Select(0, i).Index(torch.FromSlice(at)), 0, 1e-5)
		}
		torchtest.Close(t, g.Pooled.Tensor(t), c.Bert.Pooler.Forward(hidden.Select(1, 0)), 0, 1e-5)
		torchtest.Close(t, g.Logits.Tensor(t), c.Logits(b), 0, 1e-5)
		t.Log("logits", c.Logits(b).Sub(g.Logits.Tensor(t)).Abs().Max().Item())
		full := g.Full.batch()
		torchtest.Close(t, g.Full.Logits.Tensor(t), c.Logits(full), 0, 1e-5)
		for i := range g.IDs {
			n := b.Length[i]
			one := &text.Batch{IDs: g.IDs[i][:n], Types: g.Types[i][:n], Length: []int{n}, T: n}
			torchtest.Close(t, g.Alone.Tensor(t).Narrow(0, i, 1), c.Logits(one), 0, 1e-5)
		}
	})
}

type trainGolden struct {
	LR          float64
	WeightDecay float64 `json:"weight_decay"`
	Clip        float64
	WarmUp      int `json:"warm_up"`
	Classes     []string
	Classifier  headGolden
	Steps       []struct {
		IDs    [][]int64
		Labels []int
	}
	All, Top trainedGolden
}

type trainedGolden struct {
	Trained       []string // keys
	Losses, Norms []float64
	LogitsAfter   torchtest.Stored `json:"logits_after"` // of the first batch
}

// PyTorch's own losses move by 2e-7 (relative) with its fused AdamW or with sdpa attention: bert.py ... fused sdpa.
func TestThirtySteps(t *testing.T) {
	g := torchtest.Golden[trainGolden](t, "train.json.gz")
	folder := minilm(t)
	for name, want := range map[string]trainedGolden{"all": g.All, "top": g.Top} {
		t.Run(name, func(t *testing.T) {
			zero := 0.0
			c, err := text.LoadClassifier(folder, "", text.Head{Classes: g.Classes, Pooling: text.CLS, Dropout: &zero, Seed: 1})
			require.NoError(t, err)
			defer c.Close()
			g.Classifier.put(t, c)
			named := map[string]torch.Tensor{}
			for k, p := range nn.Params(c) {
				named[k] = p
			}
			var params []torch.Tensor
			for _, k := range want.Trained {
				require.Contains(t, named, k)
				params = append(params, named[k].RequiresGrad_(true))
			}
			o := optim.NewAdamW(optim.AdamWOptions{}, &optim.Group{Params: params, WeightDecay: g.WeightDecay})
			defer o.Close()
			schedule := optim.Linear(g.WarmUp, len(g.Steps))
			batch := func(i int) *text.Batch {
				b := &text.Batch{Target: objective.Targets{Classes: g.Steps[i].Labels}}
				for _, ids := range g.Steps[i].IDs {
					b.Length, b.T = append(b.Length, len(ids)), max(b.T, len(ids))
				}
				for _, ids := range g.Steps[i].IDs {
					b.IDs = append(append(b.IDs, ids...), make([]int64, b.T-len(ids))...)
				}
				return b
			}
			worst, worstNorm := 0.0, 0.0
			for i := range g.Steps {
				torch.Scoped(func() {
					b := batch(i)
					l := c.Objective().Loss(nn.Values{c.Logits(b)}, b.Targets())
					l.Backward()
					norm := optim.ClipGradNorm(params, g.Clip)
					o.Groups()[0].LR = g.LR * schedule(i)
					o.Step()
					o.ZeroGrad()
					worst = max(worst, math.Abs(l.Item()-want.Losses[i])/want.Losses[i])
					worstNorm = max(worstNorm, math.Abs(norm.Item()-want.Norms[i])/want.Norms[i])
				})
			}
			t.Logf("largest relative difference of a loss %.1e, of a norm %.1e", worst, worstNorm)
			require.Less(t, worst, 1e-5)
			require.Less(t, worstNorm, 1e-4)
			torchtest.Scoped(t, func() {
				torchtest.Close(t, want.LogitsAfter.Tensor(t), c.Logits(batch(0)).Detach(), 0, 1e-5)
			})
		})
	}
}
