package text_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/text"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
)

// save writes a classifier as a run does.
func save(t testing.TB, c *text.Classifier) string {
	t.Helper()
	folder := t.TempDir()
	require.NoError(t, c.SaveConfig(folder))
	require.NoError(t, torch.SaveCheckpoint(filepath.Join(folder, "best.safetensors"), nn.State(c), nil))
	return folder
}

func open(t testing.TB, folder string) *text.Classifier {
	t.Helper()
	c, err := text.OpenClassifier(folder, "")
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

// batches has so many texts go through the model together.
func batches(n int) finetune.PredictOptions { return finetune.PredictOptions{BatchSize: n} }

func TestSaveAndOpen(t *testing.T) {
	dropout := 0.125
	texts := []string{"good film", "the movie is not very good, it is boring.", "", "dull"}
	for _, head := range []text.Head{
		{Classes: classes(2), Pooling: text.CLS},
		{Classes: classes(4), Pooling: text.Mean, Dropout: &dropout},
		{Classes: []string{"<gut & schön>", "日本", " "}, Pooling: text.Mean},
	} {
		t.Run(fmt.Sprint(head.Classes, head.Pooling), func(t *testing.T) {
			unchanged(t)
			c := load(t, tinyFolder(t, nil), head, 3)
			c.Config.MaxLength = 9
			want, err := c.Predict(t.Context(), text.Items(texts...), batches(2))
			require.NoError(t, err)
			again := open(t, save(t, c))
			assert.Equal(t, head.Classes, again.Classes)
			assert.Equal(t, values(c), values(again))
			assert.Equal(t, c.Dropout.P, again.Dropout.P)
			assert.Equal(t, 9, again.Config.MaxLength)
			got, err := again.Predict(t.Context(), text.Items(texts...), batches(2))
			require.NoError(t, err)
			assert.Equal(t, want, got, "bit for bit")
			assert.Equal(t, values(again), values(open(t, save(t, again))), "a saved one saved again")
		})
	}
}

// What a run's config.json says is true of the run's model, whatever the file says that it was made of.
func TestSavedConfig(t *testing.T) {
	unchanged(t)
	foreign := settings{ // of another task, output, dtype and program
		"_name_or_path": "/home/someone/model", "architectures": []string{"BertModel"}, "torch_dtype": "bfloat16", "dtype": "bfloat16",
		"problem_type": "multi_label_classification", "num_labels": 3, "id2label": map[string]string{"0": "x", "1": "y", "2": "z"},
		"label2id": map[string]int{"x": 0, "y": 1, "z": 2}, "quantization_config": map[string]any{"load_in_8bit": true},
		"output_hidden_states": true, "output_attentions": true, "return_dict": false, "torchscript": true, "finetuning_task": "mrpc",
		"task_specific_params": map[string]any{"a": 1}, "tie_word_embeddings": false, "transformers_version": "4.1.0", "auto_map": map[string]string{"AutoModel": "m.M"},
		"gradient_checkpointing": true, "use_cache": true, "chunk_size_feed_forward": 7, "is_decoder": false, "add_cross_attention": false,
		"pruned_heads": map[string]any{}, "thaw_pairs": true, "thaw_max_length": 7, "a tree": json.RawMessage(`{"b":[1]}`),
	}
	tokens := settings{
		"bos_token_id": 2, "eos_token_id": []int{3}, "sep_token_id": 3, "tokenizer_class": "BertTokenizer", "cls_token_id": 2,
	}
	all := maps.Clone(foreign)
	maps.Copy(all, tokens)
	quarter := 0.25
	for _, head := range []text.Head{{Classes: classes(2), Pooling: text.CLS}, {Classes: classes(2), Pooling: text.Mean, Dropout: &quarter}} {
		c := load(t, tinyFolder(t, all), head, 1)
		folder := save(t, c)
		data, err := os.ReadFile(filepath.Join(folder, "config.json"))
		require.NoError(t, err)
		want := map[string]any{
			"id2label": map[string]string{"0": "a", "1": "b"}, "label2id": map[string]int{"a": 0, "b": 1}, "num_labels": 2,
			"problem_type": "single_label_classification", "dtype": "float32", "architectures": []string{"BertForSequenceClassification"},
			"classifier_dropout": nil, "thaw_pooling": "cls", "thaw_max_length": 0,
			"model_type": "bert", "vocab_size": 99, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 40,
			"hidden_act": "gelu", "hidden_dropout_prob": 0, "attention_probs_dropout_prob": 0, "max_position_embeddings": 32, "type_vocab_size": 2,
			"layer_norm_eps": 1e-12, "initializer_range": 0.02, "pad_token_id": 0, "position_embedding_type": "absolute",
		}
		maps.Copy(want, tokens)
		if head.Pooling == text.Mean {
			delete(want, "architectures") // transformers has none
			want["thaw_pooling"], want["classifier_dropout"] = "mean", quarter
		}
		asked, err := json.Marshal(want)
		require.NoError(t, err)
		assert.JSONEq(t, string(asked), string(data))
		again, err := os.ReadFile(filepath.Join(save(t, open(t, folder)), "config.json"))
		require.NoError(t, err)
		assert.Equal(t, string(data), string(again))
	}
}

// A folder's tokenizer is saved with all its files.
func TestSavedTokenizer(t *testing.T) {
	unchanged(t)
	folder := tinyFolder(t, settings{"vocab_size": 99, "max_position_embeddings": 32})
	files := map[string]string{
		"tokenizer_config.json": `{"do_lower_case": false}`, "special_tokens_map.json": `{"mask_token": "[MASK]"}`, "added_tokens.json": `{"good": 88}`,
	}
	for name, content := range files {
		write(t, filepath.Join(folder, name), content)
	}
	vocab, err := os.ReadFile("testdata/tiny/vocab.txt")
	require.NoError(t, err)
	files["vocab.txt"] = string(vocab)
	saved := save(t, load(t, folder, twoClasses, 1))
	for name, content := range files {
		copied, err := os.ReadFile(filepath.Join(saved, name))
		require.NoError(t, err)
		assert.Equal(t, content, string(copied))
	}
}

// Saving into a folder that cannot be written to is an error.
func TestSaveConfigFails(t *testing.T) {
	unchanged(t)
	c := load(t, tinyFolder(t, nil), twoClasses, 1)
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, "")
	require.Error(t, c.SaveConfig(file))
	require.Error(t, c.SaveConfig(filepath.Join(t.TempDir(), "none")))
}

func TestPredict(t *testing.T) {
	unchanged(t)
	c := load(t, tinyFolder(t, settings{"initializer_range": 0.5}), text.Head{Classes: classes(3), Pooling: text.Mean}, 1)
	texts := []string{
		"the film is good", "", "bad", "the movie was not very good and it is very dull, boring, bad film!", "   ", "bad",
		"bad \xff\xfe film\xc3", "日本 is not known", "great\x00 fun", strings.Repeat("a", 1_000_000), strings.Repeat("good ", 200_000),
	}
	one, err := c.Predict(t.Context(), text.Items(texts...), batches(1))
	require.NoError(t, err)
	require.Len(t, one, len(texts))
	for i, p := range one {
		assert.Equal(t, texts[i], p.Input, "order and input are kept")
		require.Len(t, p.Logits, 3)
		require.Len(t, p.Scores, 3)
		sum, best := 0.0, 0
		for j, class := range c.Classes {
			sum += p.Scores[class]
			if p.Logits[j] > p.Logits[best] {
				best = j
			}
		}
		assert.InDelta(t, 1, sum, 1e-12)
		assert.Equal(t, c.Classes[best], p.Label)
		for j, class := range c.Classes {
			want := math.Exp(float64(p.Logits[j] - p.Logits[best]))
			assert.InDelta(t, want, p.Scores[class]/p.Scores[p.Label], 1e-5)
		}
	}
	assert.Equal(t, one[2], one[5], "the same text")
	assert.Equal(t, one[1].Logits, one[4].Logits, "no text and spaces")
	assert.NotEqual(t, one[0].Logits, one[2].Logits)
	for _, size := range []int{2, 3, len(texts), 1000} {
		many, err := c.Predict(t.Context(), text.Items(texts...), batches(size))
		require.NoError(t, err)
		for i, p := range many {
			assert.Equal(t, texts[i], p.Input)
			assert.InDeltaSlice(t, one[i].Logits, p.Logits, 1e-5, "text %d in batches of %d", i, size)
		}
	}
}

func TestPredictNothing(t *testing.T) {
	unchanged(t)
	c := load(t, tinyFolder(t, nil), twoClasses, 1)
	for _, none := range [][]text.Item{nil, {}} {
		got, err := c.Predict(t.Context(), none, batches(8))
		require.NoError(t, err)
		assert.Empty(t, got)
	}
}

// A text is cut where it was in training, and else where the positions end.
func TestPredictCuts(t *testing.T) {
	unchanged(t)
	c := load(t, tinyFolder(t, settings{"initializer_range": 0.5}), text.Head{Classes: classes(2), Pooling: text.Mean}, 1)
	logits := func(s string) []float32 {
		p, err := c.PredictTexts(t.Context(), s)
		require.NoError(t, err)
		return p[0].Logits
	}
	long := strings.Repeat("good ", 30)
	assert.Equal(t, logits(long), logits(long+"bad bad bad"), "30 words and two special tokens fill 32 positions")
	assert.NotEqual(t, logits(long[5:]), logits(long[5:]+"bad"))
	c.Config.MaxLength = 5
	assert.Equal(t, logits("good film not bad"), logits("good film not"))
	assert.NotEqual(t, logits("good film not"), logits("good film"))
}

func TestPredictWithDamagedWeights(t *testing.T) {
	unchanged(t)
	c := load(t, tinyFolder(t, nil), twoClasses, 1)
	torch.Scoped(func() { torch.NoGrad(func() { c.Linear.Weight.MulScalar_(math.NaN()) }) })
	c.Source = "weights.bin"
	_, err := c.Predict(t.Context(), text.Items("good film", "bad"), batches(2))
	assert.EqualError(t, err, `"good film": the model gives scores that are no finite numbers: the weights, weights.bin, are damaged`)
}

// One token of the weights is damaged: what stands before the first text with it is known, whatever its length and
// batch.
func TestPredictUpToWhatFails(t *testing.T) {
	unchanged(t)
	c := load(t, tinyFolder(t, settings{"initializer_range": 0.5}), text.Head{Classes: classes(2), Pooling: text.Mean}, 1)
	texts := []string{"the film is not good", "film", "the film", "is it movie", "movie", "good", "movie is it the film", "is"}
	want, err := c.Predict(t.Context(), text.Items(texts...), batches(1))
	require.NoError(t, err)
	movie := int(c.Tokenizer.AppendIDs(nil, "movie", 0)[1])
	torch.Scoped(func() { torch.NoGrad(func() { c.Bert.Embeddings.Word.Weight.Select(0, movie).MulScalar_(math.NaN()) }) })
	for _, size := range []int{1, 2, 3, 100} {
		got, err := c.Predict(t.Context(), text.Items(texts...), batches(size))
		assert.ErrorContains(t, err, `"is it movie": the model gives scores that are no finite numbers`)
		require.Len(t, got, 3, "batches of %d", size)
		for i := range got {
			assert.Equal(t, texts[i], got[i].Input)
			assert.InDeltaSlice(t, want[i].Logits, got[i].Logits, 1e-5)
		}
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	got, err := c.Predict(stopped, text.Items(texts...), batches(1))
	assert.ErrorIs(t, err, context.Canceled)
	assert.Empty(t, got)
}

// What goes wrong inside libtorch is an error, not a panic.
func TestPredictFails(t *testing.T) {
	unchanged(t)
	c := load(t, tinyFolder(t, nil), twoClasses, 1)
	c.Config.MaxLength = 64 // more than there are positions
	_, err := c.PredictTexts(t.Context(), strings.Repeat("good ", 100))
	require.EqualError(t, err, "tokenising texts: 64 is more than the 32 positions of the model")
	c.Config.MaxPositionEmbeddings = 64
	_, err = c.PredictTexts(t.Context(), strings.Repeat("good ", 100))
	require.Error(t, err)
	require.ErrorAs(t, err, new(*torch.Error))
}
