package text_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/text"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/torch/torchtest"
)

// foreign is a folder of a classifier as transformers saves it: tiny/golden.json's head, of n classes, with settings.
func foreign(t testing.TB, n int, s settings) string {
	t.Helper()
	g := torchtest.Golden[struct{ Classifier headGolden }](t, "tiny/golden.json")
	c, err := text.LoadClassifier("testdata/tiny", "testdata/tiny/bare.safetensors", text.Head{Classes: classes(3), Pooling: text.CLS, Seed: 1})
	require.NoError(t, err)
	defer c.Close()
	g.Classifier.put(t, c)
	all := settings{"architectures": []string{"BertForSequenceClassification"}}
	maps.Copy(all, s)
	folder := tinyFolder(t, all)
	torch.Scoped(func() {
		state := nn.State(c)
		for i, named := range state {
			if strings.HasPrefix(named.Name, "classifier.") {
				state[i].Tensor = named.Tensor.Narrow(0, 0, n)
			}
		}
		require.NoError(t, torch.SaveCheckpoint(filepath.Join(folder, "model.safetensors"), state, map[string]string{"format": "pt"}))
	})
	return folder
}

// TestScoresOfProblemTypes compares with transformers' pipeline, testdata/heads.py.
func TestScoresOfProblemTypes(t *testing.T) {
	unchanged(t)
	type scores = []map[string]float64
	g := torchtest.Golden[struct {
		Texts []string
		Pairs [][2]string
		Heads []struct {
			Classes       int
			ProblemType   *string `json:"problem_type"`
			Scores, Pairs scores
		}
	}](t, "heads.json")
	require.Len(t, g.Heads, 6)
	var items []text.Item
	for _, p := range g.Pairs {
		items = append(items, text.Item{Text: p[0], Pair: p[1]})
	}
	for _, h := range g.Heads {
		own := settings{"problem_type": h.ProblemType}
		if h.Classes == 1 {
			own["num_labels"] = 1
			own["id2label"] = map[string]string{"0": "LABEL_0"}
		}
		folder := foreign(t, h.Classes, own) // three classes are known of the weights alone
		if h.Classes > 1 && h.ProblemType != nil && *h.ProblemType == string(text.Regression) {
			_, err := text.OpenClassifier(folder, "")
			require.EqualError(t, err, folder+`/config.json: problem_type is "regression" with 3 outputs, and one number is predicted`)
			continue
		}
		c := open(t, folder)
		got, err := c.Predict(t.Context(), text.Items(g.Texts...), batches(2))
		require.NoError(t, err)
		pairs, err := c.Predict(t.Context(), items, batches(2))
		require.NoError(t, err)
		scoresOf := func(p text.Prediction) map[string]float64 {
			if p.Value != nil {
				return map[string]float64{"LABEL_0": *p.Value}
			}
			return p.Scores
		}
		for i, p := range got {
			assert.InDeltaMapValues(t, h.Scores[i], scoresOf(p), 1e-6, "%q", p.Input)
		}
		for i, p := range pairs {
			assert.InDeltaMapValues(t, h.Pairs[i], scoresOf(p), 1e-6, "%q", p.Input)
			assert.Equal(t, items[i], text.Item{Text: p.Input, Pair: p.Pair})
		}
	}
}

func TestClassesWithoutNames(t *testing.T) {
	unchanged(t)
	for _, c := range []struct {
		name string
		n    int
		own  settings
		want []string
	}{
		{"two, as transformers saves them", 2, nil, []string{"LABEL_0", "LABEL_1"}},
		{"as many as the head has", 3, nil, []string{"LABEL_0", "LABEL_1", "LABEL_2"}},
		{"as many as num_labels says", 3, settings{"num_labels": 3, "id2label": json.RawMessage("null")}, []string{"LABEL_0", "LABEL_1", "LABEL_2"}},
		{"names", 2, settings{"id2label": map[string]string{"0": "bad", "1": "good"}}, []string{"bad", "good"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := open(t, foreign(t, c.n, c.own))
			assert.Equal(t, c.want, m.Classes)
			assert.Equal(t, c.want, m.Config.Classes())
		})
	}
	folder := foreign(t, 3, settings{"num_labels": 2})
	_, err := text.OpenClassifier(folder, "")
	require.EqualError(t, err, folder+"/model.safetensors does not fit the model: 2 keys of another shape (classifier.weight: [2 32] in the model, "+
		"[3 32] in the file, classifier.bias: [2] in the model, [3] in the file)")
}

// The configurations that people met.
func TestConfigsMet(t *testing.T) {
	for name, want := range map[string]text.ProblemType{"multilabel": text.MultiLabel, "twoclass": "", "onesegment": "", "short": "", "ner": ""} {
		c, err := text.ReadConfig("testdata/configs/config-" + name + ".json")
		require.NoError(t, err)
		assert.Equal(t, want, c.ProblemType)
	}
	data, err := os.ReadFile("testdata/configs/config-ner.json")
	require.NoError(t, err)
	folder := tinyFolder(t, nil)
	write(t, filepath.Join(folder, "config.json"), string(data))
	_, err = text.OpenClassifier(folder, "")
	require.EqualError(t, err, folder+`/config.json: architectures is "BertForTokenClassification": no classifier of whole texts, which is "BertForSequenceClassification"`)
}

func TestPredictItems(t *testing.T) {
	unchanged(t)
	single, pair := text.Item{Text: "good film"}, text.Item{Text: "good film", Pair: "not bad"}
	c := load(t, tinyFolder(t, settings{"initializer_range": 0.5}), twoClasses, 1)
	predict := func(items ...text.Item) error {
		_, err := c.Predict(t.Context(), items, batches(2))
		return err
	}
	require.NoError(t, predict(single, single)) // it is not known what the model was trained on
	require.NoError(t, predict(pair, pair))
	require.EqualError(t, predict(pair, single), `"good film" has no second text, and the others, or what the model was trained on, are pairs of texts`)
	require.EqualError(t, predict(single, pair), `"good film" has a second text, and the others, or what the model was trained on, are single texts`)

	c.Config.Pairs = new(true)
	require.NoError(t, predict(pair))
	require.EqualError(t, predict(single), `"good film" has no second text, and the others, or what the model was trained on, are pairs of texts`)
	again := open(t, save(t, c))
	require.Equal(t, true, *again.Config.Pairs)
	_, err := again.PredictTexts(t.Context(), "good film")
	require.EqualError(t, err, `"good film" has no second text, and the others, or what the model was trained on, are pairs of texts`)

	c.Config.Pairs = new(false)
	require.NoError(t, predict(single))
	require.EqualError(t, predict(pair), `"good film" has a second text, and the others, or what the model was trained on, are single texts`)

	c.Config.Pairs, c.Config.TypeVocabSize = nil, 1
	require.EqualError(t, predict(pair), "tokenising texts: the model has 1 segment (type_vocab_size), and pairs of texts take 2")
}

// A text of a model that no run of Thaw's has trained is cut where its tokenizer says, as transformers does.
func TestPredictCutsAtModelMaxLength(t *testing.T) {
	unchanged(t)
	folder := tinyFolder(t, settings{"initializer_range": 0.5})
	write(t, filepath.Join(folder, "tokenizer_config.json"), `{"model_max_length": 5}`)
	c := load(t, folder, text.Head{Classes: classes(2), Pooling: text.Mean}, 1)
	got, err := c.Predict(t.Context(), text.Items("good film not bad", "good film not", "good film"), batches(1))
	require.NoError(t, err)
	assert.Equal(t, got[1].Logits, got[0].Logits)
	assert.NotEqual(t, got[2].Logits, got[0].Logits)
}

func TestPredictFromManyGoroutines(t *testing.T) {
	unchanged(t)
	c := load(t, tinyFolder(t, settings{"initializer_range": 0.5}), twoClasses, 1)
	texts := []string{"the film is good", "bad", "the movie was not very good and it is very dull"}
	want, err := c.Predict(t.Context(), text.Items(texts...), batches(2))
	require.NoError(t, err)
	c.Close()
	c = load(t, tinyFolder(t, settings{"initializer_range": 0.5}), twoClasses, 1) // the first call makes what the others use
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			if i == 4 {
				assert.NoError(t, c.Use("cpu", "float32"))
			}
			got, err := c.Predict(t.Context(), text.Items(texts...), batches(2))
			assert.NoError(t, err)
			assert.Equal(t, want, got)
		})
	}
	all.Wait()
}

func TestExport(t *testing.T) {
	unchanged(t)
	folder := tinyFolder(t, settings{"initializer_range": 0.5, "torch_dtype": "float16", "problem_type": "regression"})
	write(t, filepath.Join(folder, "added_tokens.json"), `{"good": 88}`)
	c := load(t, folder, twoClasses, 1)
	c.Config.MaxLength, c.Config.Pairs = 9, new(false)
	out := filepath.Join(t.TempDir(), "out")
	require.NoError(t, c.Export(out))
	entries, err := os.ReadDir(filepath.Dir(out))
	require.NoError(t, err)
	assert.Len(t, entries, 1, "nothing temporary stays")
	entries, err = os.ReadDir(out)
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	assert.Equal(t, []string{"added_tokens.json", "config.json", "model.safetensors", "special_tokens_map.json", "tokenizer.json",
		"tokenizer_config.json", "vocab.txt"}, names)
	weights, err := torch.OpenCheckpoint(filepath.Join(out, "model.safetensors"))
	require.NoError(t, err)
	defer weights.Close()
	assert.Equal(t, map[string]string{"format": "pt"}, weights.Metadata())
	var keys []string
	for key := range nn.Params(c) {
		keys = append(keys, key)
	}
	assert.ElementsMatch(t, keys, weights.Names())
	assert.Contains(t, keys, "bert.encoder.layer.0.attention.self.query.weight")
	again := open(t, out)
	assert.Equal(t, values(c), values(again))
	texts := []string{"good film", "the movie is not very good, it is boring."}
	want, err := c.Predict(t.Context(), text.Items(texts...), batches(2))
	require.NoError(t, err)
	got, err := again.Predict(t.Context(), text.Items(texts...), batches(2))
	require.NoError(t, err)
	assert.Equal(t, want, got)

	require.EqualError(t, c.Export(out), "exporting to "+out+": it exists; nothing is overwritten")
	below := filepath.Join(out, "none", "below")
	require.ErrorIs(t, c.Export(below), os.ErrNotExist)
	mean := load(t, folder, text.Head{Classes: classes(2), Pooling: text.Mean}, 1)
	other := filepath.Join(t.TempDir(), "mean")
	require.EqualError(t, mean.Export(other), "exporting to "+other+": transformers has no class for a classifier with pooling: mean, only for one with pooling: cls")
	none, err := text.NewClassifier(c.Config, twoClasses)
	require.NoError(t, err)
	defer none.Close()
	_, err = none.PredictTexts(t.Context(), texts...)
	require.EqualError(t, err, "predicting: the classifier has no tokenizer")
	require.EqualError(t, none.Export(other), "exporting to "+other+": the classifier has no tokenizer to save")
	entries, err = os.ReadDir(filepath.Dir(other))
	require.NoError(t, err)
	assert.Empty(t, entries)
}
