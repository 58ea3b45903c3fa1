package text_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune/lora"
	"github.com/thaw-ml/thaw/onnx/onnxtest"
	"github.com/thaw-ml/thaw/text"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
)

// graphLogits runs an exported graph on one batch of items.
func graphLogits(t *testing.T, m *onnxtest.Model, c *text.Classifier, items []text.Item) (out [][]float32) {
	t.Helper()
	var encoded []text.Encoded
	width := 0
	for _, item := range items {
		e, err := c.Encode(item)
		require.NoError(t, err)
		encoded, width = append(encoded, e), max(width, e.Len())
	}
	ids, mask, types := make([]int64, len(items)*width), make([]int64, len(items)*width), make([]int64, len(items)*width)
	for i, e := range encoded {
		for j := range width {
			at := i*width + j
			if ids[at] = int64(c.Config.PadTokenID); j < e.Len() {
				ids[at], mask[at] = e.IDs[j], 1
			}
			if j < len(e.Types) {
				types[at] = e.Types[j]
			}
		}
	}
	torch.Scoped(func() {
		logits := m.Run(t, map[string]torch.Tensor{
			"input_ids": onnxtest.Int64s(ids, len(items), width), "attention_mask": onnxtest.Int64s(mask, len(items), width),
			"token_type_ids": onnxtest.Int64s(types, len(items), width),
		})
		values, n := torch.ToSlice[float32](logits), logits.Size(1)
		for i := range items {
			out = append(out, values[i*n:(i+1)*n])
		}
	})
	return out
}

// requireGraph compares an exported graph with the model, in batches of several sizes and lengths.
func requireGraph(t *testing.T, c *text.Classifier, folder string, items []text.Item) {
	t.Helper()
	torch.Scoped(func() {
		m := onnxtest.Read(t, filepath.Join(folder, text.ONNXFile))
		want, err := c.Predict(t.Context(), items, batches(3))
		require.NoError(t, err)
		for _, size := range []int{1, 2, len(items)} {
			for from := 0; from+size <= len(items); from += size {
				for i, got := range graphLogits(t, m, c, items[from:from+size]) {
					assert.InDeltaSlice(t, want[from+i].Logits, got, 1e-5, "%+v in a batch of %d", items[from+i], size)
				}
			}
		}
	})
}

var onnxItems = text.Items("good film", "the movie is not very good, it is boring.", "", "dull", "fun but not great: a film, a movie")

func TestSaveONNX(t *testing.T) {
	pairs := []text.Item{{Text: "good film", Pair: "it is not"}, {Text: "dull", Pair: "the movie was very good and fun"}, {Text: "bad", Pair: " "}}
	for name, c := range map[string]struct {
		head     text.Head
		settings settings
		items    []text.Item
	}{
		"classes, cls":        {head: text.Head{Classes: classes(3), Pooling: text.CLS}},
		"classes, mean":       {head: text.Head{Classes: []string{"<a> & \"b\"", "c\nd", "日本"}, Pooling: text.Mean}},
		"labels":              {head: text.Head{Classes: classes(4), Pooling: text.Mean, Problem: text.MultiLabel}},
		"number":              {head: text.Head{Problem: text.Regression}},
		"pairs, cls":          {head: text.Head{Classes: classes(2)}, items: pairs},
		"pairs, mean":         {head: text.Head{Classes: classes(2), Pooling: text.Mean}, items: pairs},
		"gelu_new":            {head: text.NewHead("a", "b"), settings: settings{"hidden_act": "gelu_new"}},
		"silu":                {head: text.NewHead("a", "b"), settings: settings{"hidden_act": "silu"}},
		"relu":                {head: text.NewHead("a", "b"), settings: settings{"hidden_act": "relu"}},
		"tanh, another width": {head: text.NewHead("a", "b"), settings: settings{"hidden_act": "tanh", "num_attention_heads": 2}},
	} {
		t.Run(name, func(t *testing.T) {
			unchanged(t)
			all := settings{"initializer_range": 0.5}
			for k, v := range c.settings {
				all[k] = v
			}
			model := load(t, tinyFolder(t, all), c.head, 1)
			items := onnxItems
			if c.items != nil {
				items = c.items
				model.Config.Pairs = new(true)
			}
			model.Config.MaxLength = 9
			folder := filepath.Join(t.TempDir(), "out")
			require.NoError(t, model.SaveONNX(folder))
			requireGraph(t, model, folder, items)

			torch.Scoped(func() {
				m := onnxtest.Read(t, filepath.Join(folder, text.ONNXFile))
				assert.Equal(t, []int64{8, 17}, []int64{m.IRVersion, m.Opset})
				dims := []string{"batch", "sequence"}
				assert.Equal(t, []onnxtest.Port{{Name: "input_ids", Type: 7, Dims: dims}, {Name: "attention_mask", Type: 7, Dims: dims}, {Name: "token_type_ids", Type: 7, Dims: dims}}, m.Inputs)
				assert.Equal(t, "logits", m.Outputs[0].Name)
				assert.Equal(t, string(model.Config.ProblemType), m.Metadata["problem_type"])
				assert.Equal(t, "9", m.Metadata["max_length"])
				var labels []string
				require.NoError(t, json.Unmarshal([]byte(m.Metadata["classes"]), &labels))
				assert.Equal(t, model.Classes, labels)
			})
			for _, file := range []string{"config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json"} {
				assert.FileExists(t, filepath.Join(folder, file))
			}
		})
	}
}

// Adapters are merged into what is exported, and the model keeps them apart.
func TestSaveONNXWithAdapters(t *testing.T) {
	unchanged(t)
	c := load(t, tinyFolder(t, settings{"initializer_range": 0.5}), text.Head{Classes: classes(3), Pooling: text.Mean}, 1)
	plain := filepath.Join(t.TempDir(), "plain")
	require.NoError(t, c.SaveONNX(plain))
	adapters, err := lora.Apply(c.Stages(), lora.Config{Rank: 2, Alpha: 16, Targets: []string{"query", "dense", "word_embeddings"}, Seed: 1})
	require.NoError(t, err)
	defer adapters.Close()
	torch.NoGrad(func() {
		for _, p := range nn.Params(c) { // B begins as zeros, which change nothing
			p.AddScalar_(0.05)
		}
	})
	folder := filepath.Join(t.TempDir(), "out")
	require.NoError(t, c.SaveONNX(folder))
	requireGraph(t, c, folder, onnxItems)
	one, err := os.ReadFile(filepath.Join(plain, text.ONNXFile))
	require.NoError(t, err)
	other, err := os.ReadFile(filepath.Join(folder, text.ONNXFile))
	require.NoError(t, err)
	assert.NotEqual(t, one, other)
	require.NoError(t, c.SaveONNX(plain))
	again, err := os.ReadFile(filepath.Join(plain, text.ONNXFile))
	require.NoError(t, err)
	assert.Equal(t, other, again, "the same bytes each time")
}

func TestSaveONNXRefuses(t *testing.T) {
	unchanged(t)
	c := load(t, tinyFolder(t, nil), twoClasses, 1)
	require.ErrorContains(t, c.SaveONNX("/dev/null/x"), "/dev/null")
	none, err := text.NewClassifier(c.Config, twoClasses)
	require.NoError(t, err)
	defer none.Close()
	require.EqualError(t, none.SaveONNX(t.TempDir()), "the classifier has no tokenizer to save")
}
