package lora_test

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune/lora"
	"github.com/thaw-ml/thaw/finetune/train/objective"
	"github.com/thaw-ml/thaw/text"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/torch/optim"
	"github.com/thaw-ml/thaw/torch/torchtest"
)

func TestMain(m *testing.M) { torchtest.Main(m) }

// golden is what testdata/adapters.py has written.
type golden struct {
	IDs         [][]int64 `json:"ids"`
	Logits      map[string]torchtest.Stored
	Losses      map[string][]float64
	LR          float64
	WeightDecay float64 `json:"weight_decay"`
	Clip        float64
	Steps       []struct {
		IDs    [][]int64 `json:"ids"`
		Labels []int
	}
	Image torchtest.Stored
}

func goldens(t testing.TB) golden { return torchtest.Golden[golden](t, "golden.json") }

const tinyFolder = "../../text/testdata/tiny"

// tiny is a BERT of two layers, with a head of its own for the seed.
func tiny(t testing.TB, seed uint64) *text.Classifier {
	t.Helper()
	c, err := text.LoadClassifier(tinyFolder, filepath.Join(tinyFolder, "bert_prefix.safetensors"), text.Head{Classes: []string{"a", "b", "c"}, Seed: seed})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

func batchOf(ids [][]int64, classes []int) *text.Batch {
	b := &text.Batch{Target: objective.Targets{Classes: classes}}
	for _, row := range ids {
		b.Length, b.T = append(b.Length, len(row)), max(b.T, len(row))
	}
	for _, row := range ids {
		b.IDs = append(append(b.IDs, row...), make([]int64, b.T-len(row))...)
	}
	return b
}

// The adapters of PEFT's folders give PEFT's logits, unmerged, merged, and saved merged.
func TestPEFTsAdaptersAreRead(t *testing.T) {
	g := goldens(t)
	for name, layers := range map[string]int{
		"plain": 4, "all_linear": 12, "pattern": 4, "embeddings": 5, "start": 4, "start_full": 7,
	} {
		t.Run(name, func(t *testing.T) {
			torchtest.Scoped(t, func() {
				c := tiny(t, 1)
				defer c.Close()
				plain := c.Logits(batchOf(g.IDs, nil))
				a, err := lora.Load(c.Stages(), filepath.Join("testdata", name))
				require.NoError(t, err)
				assert.Len(t, a.Matched, layers)
				want := g.Logits[name].Tensor(t)
				torchtest.Close(t, want, c.Logits(batchOf(g.IDs, nil)), 0, 1e-5)
				assert.Greater(t, want.Sub(plain).Abs().Max().Item(), 0.1, "the adapters do something")

				require.NoError(t, a.Merge())
				torchtest.Close(t, want, c.Logits(batchOf(g.IDs, nil)), 0, 1e-5, "merged")
				assert.ErrorContains(t, a.Save(t.TempDir()), "call Unmerge first")
				a.Unmerge()
				torchtest.Close(t, want, c.Logits(batchOf(g.IDs, nil)), 0, 1e-5, "unmerged")

				path := filepath.Join(t.TempDir(), "merged.safetensors")
				state, err := nn.MergedState(c)
				require.NoError(t, err)
				require.NoError(t, torch.SaveCheckpoint(path, state, nil))
				again := tiny(t, 2)
				defer again.Close()
				file, err := torch.OpenCheckpoint(path)
				require.NoError(t, err)
				defer file.Close()
				_, err = nn.Load(again, file, nn.LoadOptions{})
				require.NoError(t, err)
				torchtest.Close(t, want, again.Logits(batchOf(g.IDs, nil)), 0, 1e-5, "saved merged")
			})
		})
	}
}

// What PEFT has saved is saved again with the same keys and values, and configured alike.
func TestSavedAsPEFTSaves(t *testing.T) {
	for _, name := range []string{"plain", "pattern", "embeddings", "start", "start_full"} {
		t.Run(name, func(t *testing.T) {
			torchtest.Scoped(t, func() {
				c := tiny(t, 1)
				defer c.Close()
				a, err := lora.Load(c.Stages(), filepath.Join("testdata", name))
				require.NoError(t, err)
				folder := filepath.Join(t.TempDir(), "adapter")
				require.NoError(t, a.Save(folder))
				want, got := tensorsOf(t, filepath.Join("testdata", name)), tensorsOf(t, folder)
				if name == "pattern" { // whose head PEFT has left alone but for the classifier
					for key := range got {
						if _, ok := want[key]; !ok {
							assert.Contains(t, key, "bert.pooler.")
							delete(got, key)
						}
					}
				}
				assert.Equal(t, want, got)

				again := tiny(t, 2)
				defer again.Close()
				b, err := lora.Load(again.Stages(), folder)
				require.NoError(t, err)
				assert.Equal(t, a.Matched, b.Matched)
				batch := batchOf(goldens(t).IDs, nil)
				assert.Equal(t, torch.ToSlice[float32](c.Logits(batch)), torch.ToSlice[float32](again.Logits(batch)))
			})
		})
	}
}

// tensorsOf gives the digests of a folder's tensors.
func tensorsOf(t testing.TB, folder string) map[string]uint64 {
	t.Helper()
	c, err := torch.OpenCheckpoint(filepath.Join(folder, lora.WeightsFile))
	require.NoError(t, err)
	defer c.Close()
	out := map[string]uint64{}
	for _, name := range c.Names() {
		tensor, err := c.Tensor(name)
		require.NoError(t, err)
		out[name] = tensor.Digest()
	}
	return out
}

// The config that Save writes has the values of PEFT's, and lists layers so that PEFT finds the same ones.
func TestSavedConfig(t *testing.T) {
	torchtest.Scoped(t, func() {
		c := tiny(t, 1)
		defer c.Close()
		a, err := lora.Apply(c.Stages(), lora.Config{
			Rank: 3, Alpha: 5, RSLoRA: true, Dropout: 0.25, Targets: []string{"query", "output.dense"}, Top: 1, BaseModel: "bert", TaskType: "SEQ_CLS",
		})
		require.NoError(t, err)
		assert.Equal(t, "rank 3 in 3 layers (dense, query), 600 parameters", a.String())
		folder := t.TempDir()
		require.NoError(t, a.Save(folder))
		text, err := os.ReadFile(filepath.Join(folder, lora.ConfigFile))
		require.NoError(t, err)
		var got map[string]any
		require.NoError(t, json.Unmarshal(text, &got))
		assert.Equal(t, map[string]any{
			"peft_type": "LORA", "task_type": "SEQ_CLS", "base_model_name_or_path": "bert", "inference_mode": true,
			"r": 3., "lora_alpha": 5., "lora_dropout": 0.25, "use_rslora": true, "bias": "none", "fan_in_fan_out": false,
			"init_lora_weights": true, "modules_to_save": []any{"bert.pooler.dense", "classifier"},
			"target_modules": []any{"1.attention.self.query", "1.attention.output.dense", "1.output.dense"},
		}, got)
	})
}

// Thirty steps from PEFT's start have PEFT's losses.
func TestThirtyStepsArePEFTs(t *testing.T) {
	g := goldens(t)
	for name, want := range g.Losses {
		t.Run(name, func(t *testing.T) {
			torchtest.Scoped(t, func() {
				c := tiny(t, 1)
				defer c.Close()
				_, err := lora.Load(c.Stages(), filepath.Join("testdata", name))
				require.NoError(t, err)
				params, groups := trainedByPEFT(t, c, filepath.Join("testdata", name))
				groups[0].WeightDecay = g.WeightDecay
				for _, group := range groups {
					group.LR = g.LR
				}
				o := optim.NewAdamW(optim.AdamWOptions{}, groups...)
				defer o.Close()
				nn.SetTraining(c, true)
				worst := 0.0
				for i, step := range g.Steps {
					torch.Scoped(func() {
						b := batchOf(step.IDs, step.Labels)
						l := c.Objective().Loss(nn.Values{c.Logits(b)}, b.Targets())
						l.Backward()
						optim.ClipGradNorm(params, g.Clip)
						o.Step()
						o.ZeroGrad()
						worst = max(worst, math.Abs(l.Item()-want[i]))
					})
				}
				t.Logf("largest difference of a loss %.1e", worst)
				assert.Less(t, worst, 1e-4)
				nn.SetTraining(c, false)
				torchtest.Close(t, g.Logits[name+" after"].Tensor(t), c.Logits(batchOf(g.IDs, nil)).Detach(), 0, 1e-3)
			})
		})
	}
}

// trainedByPEFT are the parameters that a folder has, matrices and others.
func trainedByPEFT(t testing.TB, c *text.Classifier, folder string) (params []torch.Tensor, groups []*optim.Group) {
	file, err := torch.OpenCheckpoint(filepath.Join(folder, lora.WeightsFile))
	require.NoError(t, err)
	defer file.Close()
	named := map[string]torch.Tensor{}
	for key, p := range nn.Params(c) {
		named["base_model.model."+key] = p
	}
	groups = []*optim.Group{{}, {}}
	for _, key := range file.Names() {
		p, ok := named[baseKey(key)]
		require.True(t, ok, key)
		p.RequiresGrad_(true)
		params = append(params, p)
		group := groups[0]
		if p.Dim() <= 1 {
			group = groups[1]
		}
		group.Params = append(group.Params, p)
	}
	return params, groups
}
