package lora_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune/lora"
	"github.com/thaw-ml/thaw/text"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/torch/torchtest"
)

func baseKey(key string) string { return strings.Replace(key, ".base_layer.", ".", 1) }

// convNet is adapters.py's small network.
type convNet struct {
	Conv1 *nn.Conv2d    `torch:"conv1"`
	BN1   *nn.BatchNorm `torch:"bn1"`
	Conv2 *nn.Conv2d    `torch:"conv2"`
	FC    *nn.Linear    `torch:"fc"`
}

func newConvNet(groups int) *convNet {
	return &convNet{
		nn.EmptyConv2d(3, 4, 3, nn.ConvOptions{Stride: 2, Padding: 1, NoBias: true}), nn.EmptyBatchNorm(4),
		nn.EmptyConv2d(4, 6, 1, nn.ConvOptions{Groups: groups}), nn.EmptyLinear(6, 2, nn.LinearOptions{}),
	}
}

func (n *convNet) stages() []nn.Stage[torch.Tensor] {
	type body struct {
		Conv1 *nn.Conv2d    `torch:"conv1"`
		BN1   *nn.BatchNorm `torch:"bn1"`
	}
	return []nn.Stage[torch.Tensor]{
		{Name: "stem", Module: &body{n.Conv1, n.BN1}, Forward: func(x torch.Tensor, _ nn.Values) nn.Values {
			return nn.Values{n.BN1.Forward(n.Conv1.Forward(x)).ReLU()}
		}},
		{Name: "layer", Module: n.Conv2, Key: "conv2.", Forward: func(_ torch.Tensor, in nn.Values) nn.Values {
			return nn.Values{n.Conv2.Forward(in[0]).MeanDim(2, 3)}
		}},
		{Name: "head", Module: n.FC, Key: "fc.", Forward: func(_ torch.Tensor, in nn.Values) nn.Values {
			return nn.Values{n.FC.Forward(in[0])}
		}},
	}
}

func loadedConvNet(t testing.TB) *convNet {
	n := newConvNet(1)
	file, err := torch.OpenCheckpoint("testdata/conv/base.safetensors")
	require.NoError(t, err)
	defer file.Close()
	_, err = nn.Load(n, file, nn.LoadOptions{})
	require.NoError(t, err)
	return n
}

// Convolutions, and biases of layers without adapters, are PEFT's too; batch norms keep their statistics.
func TestConvolutionsArePEFTs(t *testing.T) {
	g := goldens(t)
	torchtest.Scoped(t, func() {
		n := loadedConvNet(t)
		defer nn.Close(n)
		a, err := lora.Load(n.stages(), "testdata/conv")
		require.NoError(t, err)
		assert.Equal(t, []string{"conv1", "conv2"}, a.Matched)
		x, want := g.Image.Tensor(t), g.Logits["conv"].Tensor(t)
		torchtest.Close(t, want, nn.RunStages(n.stages(), x, nil)[0], 0, 1e-5)
		require.NoError(t, a.Merge())
		torchtest.Close(t, want, nn.RunStages(n.stages(), x, nil)[0], 0, 1e-5, "merged")
		a.Unmerge()
		folder := t.TempDir()
		require.NoError(t, a.Save(folder))
		saved := tensorsOf(t, "testdata/conv")
		delete(saved, "base_model.model.fc.modules_to_save.bias") // which PEFT writes and does not read
		delete(saved, "base_model.model.fc.original_module.bias")
		assert.Equal(t, saved, tensorsOf(t, folder))
		assert.Equal(t, []string{"lora", "*.bias"}, a.Selection())

		nn.SetTraining(n, true)
		assert.False(t, n.BN1.Training(), "its statistics are the frozen network's")
		a.Remove()
		nn.SetTraining(n, true)
		assert.True(t, n.BN1.Training())
	})
}

// All linear layers are those before the head but convolutions with groups, which are named.
func TestAllLinear(t *testing.T) {
	torchtest.Scoped(t, func() {
		n := newConvNet(2)
		defer nn.Close(n)
		a, err := lora.Apply(n.stages(), lora.Config{Rank: 2, Targets: []string{lora.AllLinear}})
		require.NoError(t, err)
		assert.Equal(t, []string{"conv1"}, a.Matched)
		assert.Equal(t, []string{"conv2"}, a.Grouped)

		c := tiny(t, 1)
		defer c.Close()
		b, err := lora.Apply(c.Stages(), lora.Config{Targets: []string{lora.AllLinear}, Seed: 3})
		require.NoError(t, err)
		assert.Len(t, b.Matched, 12)
		assert.NotContains(t, b.Matched, "bert.pooler.dense")
		assert.Equal(t, 8, b.Config.Rank)
		assert.Equal(t, 16., b.Config.Alpha)
	})
}

// A new adapter changes nothing, the seed tells its values, and Remove leaves no trace.
func TestApplyAndRemove(t *testing.T) {
	torchtest.Scoped(t, func() {
		c := tiny(t, 1)
		defer c.Close()
		batch := batchOf(goldens(t).IDs, nil)
		before, keys := torch.ToSlice[float32](c.Logits(batch)), len(nn.State(c))
		var digests []uint64
		for _, seed := range []uint64{1, 2, 1} {
			a, err := lora.Apply(c.Stages(), lora.Config{Targets: []string{"query", "word_embeddings"}, Seed: seed})
			require.NoError(t, err)
			assert.Equal(t, before, torch.ToSlice[float32](c.Logits(batch)))
			assert.Len(t, nn.State(c), keys+6)
			_, err = lora.Apply(c.Stages(), lora.Config{Targets: []string{"value", "query"}})
			assert.ErrorContains(t, err, "bert.encoder.layer.0.attention.self.query: bert.encoder.layer.0.attention.self.query has an adapter already")
			digests = append(digests, c.Bert.Encoder.Layer[1].Attention.Self.Query.Adapter.(*nn.LoRALinear).A.Weight.Digest())
			a.Remove()
			assert.Len(t, nn.State(c), keys)
		}
		assert.Equal(t, digests[0], digests[2])
		assert.NotEqual(t, digests[0], digests[1])
	})
}

// What else the Config has trained is selected by name.
func TestSelection(t *testing.T) {
	for want, c := range map[string]lora.Config{
		"lora":        {Targets: []string{"query"}},
		"lora *.bias": {Targets: []string{"query"}, Bias: lora.AllBias},
		"lora bert.encoder.layer.1.attention.self.key.bias bert.encoder.layer.1.attention.self.query.bias": {
			Targets: []string{"query", "key"}, Bias: lora.LoRABias, Top: 1,
		},
		"lora bert.embeddings.LayerNorm.*": {Targets: []string{"query"}, ModulesToSave: []string{"embeddings.LayerNorm"}},
	} {
		torchtest.Scoped(t, func() {
			m := tiny(t, 1)
			defer m.Close()
			a, err := lora.Apply(m.Stages(), c)
			require.NoError(t, err)
			got := a.Selection()
			slices.Sort(got[1:])
			assert.Equal(t, want, strings.Join(got, " "))
		})
	}
}

func TestApplyRefuses(t *testing.T) {
	m := tiny(t, 1)
	before := len(nn.State(m))
	for _, c := range []struct {
		config lora.Config
		want   string
	}{
		{lora.Config{}, "no target is given"},
		{lora.Config{Targets: []string{"qery"}}, `no layer is named "qery"; did you mean "query"?; there are word_embeddings, position_embeddings, token_type_embeddings, query, key, value, dense`},
		{lora.Config{Targets: []string{"query", "q_proj"}}, `no layer is named "q_proj"`},
		{lora.Config{Targets: []string{"LayerNorm"}}, `the target "LayerNorm" is no linear layer`},
		{lora.Config{Targets: []string{"classifier"}}, "is trained as a whole"},
		{lora.Config{Pattern: "query"}, "a pattern matches whole names, a list, as in [query], the ends"},
		{lora.Config{Pattern: "(?=x)"}, "the pattern of the targets"},
		{lora.Config{Targets: []string{"query"}, Pattern: "x"}, "not both"},
		{lora.Config{Targets: []string{"query", lora.AllLinear}}, "stands alone"},
		{lora.Config{Targets: []string{"query"}, Top: 4}, "there are 3 stages with parameters before the head, and layers in the top 4"},
		{lora.Config{Targets: []string{"word_embeddings"}, Top: 1}, `no layer in the top 1 stages before the head is named "word_embeddings"`},
		{lora.Config{Targets: []string{"query"}, Rank: -1}, "the rank must be 1 or more, found -1"},
		{lora.Config{Targets: []string{"query"}, Alpha: -1}, "alpha must be above 0"},
		{lora.Config{Targets: []string{"query"}, Dropout: 1}, "dropout must be from 0 to below 1"},
		{lora.Config{Targets: []string{"query"}, Bias: "some"}, `bias must be none, all or lora_only, found "some"`},
		{lora.Config{Targets: []string{"query"}, ModulesToSave: []string{"poler"}}, `no module is named "poler", to be trained as a whole; did you mean "pooler"?`},
	} {
		torchtest.Scoped(t, func() {
			_, err := lora.Apply(m.Stages(), c.config)
			assert.ErrorContains(t, err, c.want)
			assert.Len(t, nn.State(m), before, "nothing was put in")
		})
	}
}

// What Load does not read is an error that names the key, and leaves the model as it was.
func TestLoadRefuses(t *testing.T) {
	m := tiny(t, 1)
	query := m.Bert.Encoder.Layer[0].Attention.Self.Query.Weight
	before, keys := query.Digest(), len(nn.State(m))
	changed := func(change map[string]any) func(folder string) {
		return func(folder string) {
			path := filepath.Join(folder, lora.ConfigFile)
			content, err := os.ReadFile(path)
			require.NoError(t, err)
			config := map[string]any{}
			require.NoError(t, json.Unmarshal(content, &config))
			for key, value := range change {
				config[key] = value
			}
			content, err = json.Marshal(config)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(path, content, 0o644))
		}
	}
	for want, change := range map[string]func(folder string){
		"use_dora is true, which is not read":                           changed(map[string]any{"use_dora": true}),
		`rank_pattern is {"query":3}, which is not read`:                changed(map[string]any{"rank_pattern": map[string]any{"query": 3}}),
		"layers_to_transform is [1], which is not read":                 changed(map[string]any{"layers_to_transform": []int{1}}),
		"fan_in_fan_out is true, which is not read":                     changed(map[string]any{"fan_in_fan_out": true}),
		"lora_bias is true, which is not read":                          changed(map[string]any{"lora_bias": true}),
		"invented_in_2030 is 1, which is not read":                      changed(map[string]any{"invented_in_2030": 1}),
		`init_lora_weights is "pissa", which is not read`:               changed(map[string]any{"init_lora_weights": "pissa"}),
		`peft_type is "IA3", and only LORA is read`:                     changed(map[string]any{"peft_type": "IA3"}),
		"peft_type is 3, and only LORA is read":                         changed(map[string]any{"peft_type": 3}),
		"r: json: cannot unmarshal string":                              changed(map[string]any{"r": "8"}),
		"the rank must be 1 or more, found 0":                           changed(map[string]any{"r": 0}),
		"lora_A.weight is [4 32], and r of adapter_config.json is 2":    changed(map[string]any{"r": 2}),
		`lacks keys: "base_model.model.bert.embeddings.LayerNorm.bias"`: changed(map[string]any{"bias": "all"}),
		"and r of adapter_config.json is 1000000000000":                 changed(map[string]any{"r": 1e12}),
		"has keys that the model has no place for":                      changed(map[string]any{"target_modules": []string{"query"}}),
		"lacks the key \"base_model.model.bert.encoder.layer.0.":        changed(map[string]any{"target_modules": []string{"query", "value", "key"}}),
		"adapter_model.safetensors: no such file or directory":          func(folder string) { require.NoError(t, os.Remove(filepath.Join(folder, lora.WeightsFile))) },
		"adapter_config.json: no such file or directory":                func(folder string) { require.NoError(t, os.Remove(filepath.Join(folder, lora.ConfigFile))) },
		"adapter_config.json: unexpected end of JSON input":             func(folder string) { require.NoError(t, os.Truncate(filepath.Join(folder, lora.ConfigFile), 0)) },
	} {
		torchtest.Scoped(t, func() {
			folder := t.TempDir()
			require.NoError(t, os.CopyFS(folder, os.DirFS("testdata/plain")))
			change(folder)
			_, err := lora.Load(m.Stages(), folder)
			assert.ErrorContains(t, err, want)
			assert.ErrorContains(t, err, folder)
			assert.Len(t, nn.State(m), keys, want)
			assert.Equal(t, before, query.Digest(), want)
		})
	}
}

// A head of another number of classes is named, and nothing is read.
func TestLoadIntoAnotherHead(t *testing.T) {
	torchtest.Scoped(t, func() {
		c, err := text.LoadClassifier(tinyFolder, filepath.Join(tinyFolder, "bare.safetensors"), text.NewHead("a", "b"))
		require.NoError(t, err)
		defer c.Close()
		_, err = lora.Load(c.Stages(), "testdata/plain")
		assert.ErrorContains(t, err, "does not fit the model: base_model.model.classifier.bias is [3] in the file and [2] in the model")
	})
}

// Folders of any content end in an error or a Config that holds.
func FuzzReadConfig(f *testing.F) {
	for _, name := range []string{"plain", "all_linear", "pattern", "conv"} {
		text, err := os.ReadFile(filepath.Join("testdata", name, lora.ConfigFile))
		require.NoError(f, err)
		f.Add(text)
	}
	folder := f.TempDir()
	f.Fuzz(func(t *testing.T, text []byte) {
		require.NoError(t, os.WriteFile(filepath.Join(folder, lora.ConfigFile), text, 0o644))
		c, err := lora.ReadConfig(folder)
		if err == nil {
			assert.Positive(t, c.Rank)
			assert.True(t, len(c.Targets) > 0 || c.Pattern != "")
		}
	})
}
