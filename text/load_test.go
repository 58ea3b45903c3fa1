package text_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/text"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
)

// settings are keys of a config.json; nil takes a key out.
type settings map[string]any

// tinyFolder is a copy of the tiny model as a folder of transformers, with other settings.
func tinyFolder(t testing.TB, s settings) string {
	t.Helper()
	folder := t.TempDir()
	for to, from := range map[string]string{"vocab.txt": "vocab.txt", "model.safetensors": "bert_prefix.safetensors"} {
		data, err := os.ReadFile(filepath.Join("testdata/tiny", from))
		require.NoError(t, err)
		write(t, filepath.Join(folder, to), string(data))
	}
	var config map[string]any
	data, err := os.ReadFile("testdata/tiny/config.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &config))
	maps.Copy(config, s)
	for k, v := range s {
		if v == nil {
			delete(config, k)
		}
	}
	data, err = json.Marshal(config)
	require.NoError(t, err)
	write(t, filepath.Join(folder, "config.json"), string(data))
	return folder
}

func write(t testing.TB, path, content string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
}

// unchanged fails when tensors were left by the test.
func unchanged(t testing.TB) {
	before := torch.Stats()
	t.Cleanup(func() {
		after := torch.Stats()
		assert.Equal(t, [2]int64{before.Tensors, before.Collected}, [2]int64{after.Tensors, after.Collected}, "live tensors, collected ones")
	})
}

var twoClasses = text.NewHead("bad", "good")

var wrongModels = []struct {
	name     string
	settings settings
	change   func(t *testing.T, folder string)
	head     *text.Head // nil: twoClasses
	want     string     // with FOLDER
}{
	{"no folder", nil, remove(""), nil,
		"reading the model's config: open FOLDER/config.json: no such file or directory"},
	{"config that is no JSON", nil, replace("config.json", "{"), nil,
		"FOLDER/config.json: unexpected end of JSON input"},
	{"config that is no object", nil, replace("config.json", "[]"), nil,
		"FOLDER/config.json: json: cannot unmarshal array into Go value of type text.Config"},
	{"config of null", nil, replace("config.json", "null"), nil,
		`FOLDER/config.json: model_type is "", and only bert is supported`},
	{"setting of another type", settings{"hidden_size": "32"}, nil, nil,
		"FOLDER/config.json: json: cannot unmarshal string into Go struct field Config.hidden_size of type int"},
	{"another model", settings{"model_type": "roberta"}, nil, nil,
		`FOLDER/config.json: model_type is "roberta", and only bert is supported`},
	{"another position embedding", settings{"position_embedding_type": "relative_key"}, nil, nil,
		`FOLDER/config.json: position_embedding_type is "relative_key", and only absolute is supported`},
	{"pointer in place of the config", nil, replace("config.json", "version https://git-lfs.github.com/spec/v1\noid sha256:00\n"), nil,
		"FOLDER/config.json: this is a git-lfs pointer: fetch the file itself (git lfs pull)"},
	{"pointer in place of the vocabulary", nil, replace("vocab.txt", "version https://git-lfs.github.com/spec/v1\noid sha256:00\n"), nil,
		"tokenizer: FOLDER/vocab.txt: this is a git-lfs pointer: fetch the file itself (git lfs pull)"},
	{"a decoder", settings{"is_decoder": true}, nil, nil, "FOLDER/config.json: is_decoder is true, and only encoders are supported"},
	{"an encoder and decoder", settings{"is_encoder_decoder": true}, nil, nil, "FOLDER/config.json: is_encoder_decoder is true, and only encoders are supported"},
	{"cross-attention", settings{"add_cross_attention": true}, nil, nil, "FOLDER/config.json: add_cross_attention is true, and only encoders are supported"},
	{"pruned heads", settings{"pruned_heads": map[string][]int{"1": {0, 2}}}, nil, nil,
		`FOLDER/config.json: pruned_heads is {"1":[0,2]}, and only models that have all heads are supported`},
	{"layers that differ", settings{"per_layer_config": map[string]any{"1": map[string]any{"hidden_act": "relu"}}}, nil, nil,
		`FOLDER/config.json: per_layer_config is {"1":{"hidden_act":"relu"}}, and only models whose layers are alike are supported`},
	{"no layers", settings{"num_hidden_layers": 0}, nil, nil, "FOLDER/config.json: num_hidden_layers is 0"},
	{"negative size", settings{"hidden_size": -32}, nil, nil, "FOLDER/config.json: hidden_size is -32"},
	{"heads that do not divide", settings{"num_attention_heads": 5}, nil, nil,
		"FOLDER/config.json: hidden_size 32 is no multiple of num_attention_heads 5"},
	{"unknown activation", settings{"hidden_act": "geloo"}, nil, nil,
		`FOLDER/config.json: no activation is named "geloo"; there are [gelu gelu_new gelu_pytorch_tanh relu sigmoid silu swish tanh]`},
	{"dropout of 1", settings{"hidden_dropout_prob": 1}, nil, nil,
		"FOLDER/config.json: hidden_dropout_prob is 1, and must be from 0 to below 1"},
	{"negative deviation", settings{"initializer_range": -0.02}, nil, nil,
		"FOLDER/config.json: initializer_range is -0.02, and must be from 0 to below 1"},
	{"padding beyond the vocabulary", settings{"pad_token_id": 99}, nil, nil,
		"FOLDER/config.json: pad_token_id is 99, and vocab_size 99"},
	{"far too large", settings{"hidden_size": 1 << 20, "intermediate_size": 1 << 22}, nil, nil,
		"FOLDER/config.json: it describes a model of 2.64e+13 parameters, and FOLDER/model.safetensors has 2.06e+04"},
	{"far too many layers", settings{"num_hidden_layers": 1 << 24}, nil, nil,
		"FOLDER/config.json: it describes a model of 1.12e+11 parameters, and FOLDER/model.safetensors has 2.06e+04"},

	{"no tokenizer", nil, remove("vocab.txt"), nil,
		"tokenizer: FOLDER: there is neither tokenizer.json nor vocab.txt"},
	{"tokenizer that is no JSON", nil, replace("tokenizer.json", "?"), nil, "tokenizer: FOLDER/tokenizer.json:1: invalid character '?' looking for beginning of value"},
	{"tokenizer larger than the model", settings{"vocab_size": 98}, nil, nil,
		"FOLDER: the tokenizer has 99 tokens, the model's vocab_size is 98"},

	{"no weights", nil, remove("model.safetensors"), nil,
		"FOLDER has no weights: looked for model.safetensors, model.safetensors.index.json, best.safetensors, pytorch_model.bin"},
	{"sharded pickled weights", nil, func(t *testing.T, folder string) {
		remove("model.safetensors")(t, folder)
		write(t, filepath.Join(folder, "pytorch_model.bin.index.json"), "{}")
	}, nil, "FOLDER has no weights: looked for model.safetensors, model.safetensors.index.json, best.safetensors, pytorch_model.bin; " +
		"pytorch_model.bin.index.json is not read: save the model as safetensors (save_pretrained of transformers)"},
	{"pickled weights that are empty", nil, func(t *testing.T, folder string) {
		remove("model.safetensors")(t, folder)
		write(t, filepath.Join(folder, "pytorch_model.bin"), "")
	}, nil, "FOLDER/pytorch_model.bin: the file is empty"},
	{"pickled weights that run a program", nil, func(t *testing.T, folder string) {
		remove("model.safetensors")(t, folder)
		write(t, filepath.Join(folder, "pytorch_model.bin"), "\x80\x02cposix\nsystem\n(X\x02\x00\x00\x00idtR.")
	}, nil, "FOLDER/pytorch_model.bin: byte 2: it asks for posix.system: only tensors, dicts, lists, tuples, sets, strings and numbers are read; " +
		"in Python, load it and save the weights alone: torch.save(model.state_dict(), path)"},
	{"empty weights", nil, replace("model.safetensors", ""), nil,
		"FOLDER/model.safetensors: 0 bytes are too few: the length of the header alone takes 8"},
	{"weights of a web page", nil, replace("model.safetensors", "<!DOCTYPE html><html></html>"), nil, "FOLDER/model.safetensors: byte 0: this is an HTML page: the download went to a web page"},
	{"truncated weights", nil, func(t *testing.T, folder string) {
		require.NoError(t, os.Truncate(filepath.Join(folder, "model.safetensors"), 40_000))
	}, nil, `FOLDER/model.safetensors: tensor "bert.encoder.layer.0.intermediate.dense.weight": data_offsets [34592, 39712] reach past the end of the file, which has 35184 bytes of data: truncated?`},
	{"mis-shaped weights", settings{"intermediate_size": 41}, nil, nil, "FOLDER/model.safetensors does not fit the model: 6 keys of another shape (" +
		"bert.encoder.layer.0.intermediate.dense.weight: [41 32] in the model, [40 32] in the file, " +
		"bert.encoder.layer.0.intermediate.dense.bias: [41] in the model, [40] in the file, " +
		"bert.encoder.layer.0.output.dense.weight: [32 41] in the model, [32 40] in the file, " +
		"bert.encoder.layer.1.intermediate.dense.weight: [41 32] in the model, [40 32] in the file, " +
		"bert.encoder.layer.1.intermediate.dense.bias: [41] in the model, [40] in the file and 1 more)"},
	{"missing keys", settings{"num_hidden_layers": 3}, nil, nil, "FOLDER/model.safetensors does not fit the model: 16 keys missing (bert.encoder.layer.2.attention.self.query.weight, " +
		"bert.encoder.layer.2.attention.self.query.bias, bert.encoder.layer.2.attention.self.key.weight, " +
		"bert.encoder.layer.2.attention.self.key.bias, bert.encoder.layer.2.attention.self.value.weight and 11 more)"},
	{"unexpected keys", settings{"num_hidden_layers": 1}, nil, nil, "FOLDER/model.safetensors does not fit the model: 16 keys unexpected (bert.encoder.layer.1.attention.output.LayerNorm.bias, " +
		"bert.encoder.layer.1.attention.output.LayerNorm.weight, bert.encoder.layer.1.attention.output.dense.bias, " +
		"bert.encoder.layer.1.attention.output.dense.weight, bert.encoder.layer.1.attention.self.key.bias and 11 more)"},

	{"wrong pooling", nil, nil, &text.Head{Classes: twoClasses.Classes, Pooling: "max"},
		`no pooling is named "max": write cls or mean`},
	{"one class", nil, nil, &text.Head{Classes: []string{"good"}, Pooling: text.CLS},
		"a head with 1 classes: give two or more"},
}

func remove(name string) func(*testing.T, string) {
	return func(t *testing.T, folder string) { require.NoError(t, os.RemoveAll(filepath.Join(folder, name))) }
}

func replace(name, content string) func(*testing.T, string) {
	return func(t *testing.T, folder string) { write(t, filepath.Join(folder, name), content) }
}

func TestWrongModels(t *testing.T) {
	for _, c := range wrongModels {
		t.Run(c.name, func(t *testing.T) {
			unchanged(t)
			folder := tinyFolder(t, c.settings)
			if c.change != nil {
				c.change(t, folder)
			}
			head := twoClasses
			if c.head != nil {
				head = *c.head
			}
			_, err := text.LoadClassifier(folder, "", head)
			require.Error(t, err)
			assert.Equal(t, c.want, strings.ReplaceAll(err.Error(), folder, "FOLDER"))
		})
	}
}

// What only OpenClassifier asks for: the classes and the head.
func TestWrongClassifiers(t *testing.T) {
	classes := map[string]string{"0": "bad", "1": "good"}
	for _, c := range []struct {
		name     string
		settings settings
		weights  string
		want     string
	}{
		{"no classes", nil, "", "FOLDER/config.json: it names no classes (id2label, num_labels), and FOLDER/model.safetensors has no classifier.weight: it is no classifier's"},
		{"one class", settings{"id2label": map[string]string{"0": "bad"}, "problem_type": "single_label_classification"}, "",
			`FOLDER/config.json: there is one class, "bad", and a choice takes two: problem_type "regression" or "multi_label_classification" says what its value means`},
		{"one class without a name", settings{"num_labels": 1, "problem_type": "single_label_classification"}, "",
			`FOLDER/config.json: there is one class, "LABEL_0", and a choice takes two: problem_type "regression" or "multi_label_classification" says what its value means`},
		{"several numbers", settings{"num_labels": 2, "problem_type": "regression"}, "",
			`FOLDER/config.json: problem_type is "regression" with 2 outputs, and one number is predicted`},
		{"a gap in the numbers", settings{"id2label": map[string]string{"0": "bad", "2": "good"}}, "", "FOLDER/config.json: id2label has 2 classes, and none is numbered 1"},
		{"a class number that is none", settings{"id2label": map[string]string{"bad": "0", "good": "1"}}, "", "FOLDER/config.json: id2label has 2 classes, and none is numbered 0"},
		{"two classes of one name", settings{"id2label": map[string]string{"0": "bad", "1": "good", "2": "bad"}}, "", `FOLDER/config.json: id2label names the classes 0 and 2 alike: "bad"`},
		{"negative number of classes", settings{"num_labels": -1}, "", "FOLDER/config.json: num_labels is -1"},
		{"number of classes that is none", settings{"num_labels": "2"}, "", "FOLDER/config.json: num_labels: json: cannot unmarshal string into Go value of type int"},
		{"another kind of problem", settings{"id2label": classes, "problem_type": "multilabel"}, "",
			`FOLDER/config.json: problem_type is "multilabel"; there are "single_label_classification", "multi_label_classification", "regression"`},
		{"a classifier of tokens", settings{"id2label": classes, "architectures": []string{"BertForTokenClassification"}}, "",
			`FOLDER/config.json: architectures is "BertForTokenClassification": no classifier of whole texts, which is "BertForSequenceClassification"`},
		{"an encoder", settings{"architectures": []string{"BertModel", "BertForMaskedLM"}}, "",
			`FOLDER/config.json: architectures is "BertModel", "BertForMaskedLM": no classifier of whole texts, which is "BertForSequenceClassification"`},
		{"quantized", settings{"id2label": classes, "quantization_config": map[string]any{"load_in_8bit": true}}, "",
			"FOLDER/config.json: quantization_config is set, and quantized weights are not supported"},
		{"no head", settings{"id2label": classes}, "", "FOLDER/model.safetensors does not fit the model: 2 keys missing (classifier.weight, classifier.bias)"},
		{"wrong pooling", settings{"id2label": classes, "thaw_pooling": "max"}, "", `no pooling is named "max": write cls or mean`},
		{"a length beyond the positions", settings{"id2label": classes, "thaw_max_length": 33}, "",
			"FOLDER/config.json: thaw_max_length is 33, and max_position_embeddings 32"},
		{"weights that are not there", settings{"id2label": classes}, "FOLDER/none.safetensors", "stat FOLDER/none.safetensors: no such file or directory"},
		{"pickled weights that are not there", settings{"id2label": classes}, "FOLDER/model.bin", "stat FOLDER/model.bin: no such file or directory"},
		{"weights that are a folder", settings{"id2label": classes}, "FOLDER", "open FOLDER: not a regular file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			unchanged(t)
			if c.settings["architectures"] == nil {
				c.settings = maps.Clone(c.settings)
				if c.settings == nil {
					c.settings = settings{}
				}
				c.settings["architectures"] = nil
			}
			folder := tinyFolder(t, c.settings)
			_, err := text.OpenClassifier(folder, strings.ReplaceAll(c.weights, "FOLDER", folder))
			require.Error(t, err)
			assert.Equal(t, c.want, strings.ReplaceAll(err.Error(), folder, "FOLDER"))
		})
	}
}

// values are a model's parameters by key.
func values(c *text.Classifier) map[string][]float32 {
	out := map[string][]float32{}
	for key, p := range nn.Params(c) {
		out[key] = torch.ToSlice[float32](p)
	}
	return out
}

func load(t testing.TB, folder string, head text.Head, seed uint64) *text.Classifier {
	t.Helper()
	head.Seed = seed
	c, err := text.LoadClassifier(folder, "", head)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

func TestNewHeadIsSeeded(t *testing.T) {
	unchanged(t)
	folder := tinyFolder(t, settings{"initializer_range": 0.5})
	first, again, other := values(load(t, folder, twoClasses, 1)), values(load(t, folder, twoClasses, 1)), values(load(t, folder, twoClasses, 2))
	assert.Equal(t, first, again)
	assert.NotEqual(t, first["classifier.weight"], other["classifier.weight"])
	assert.Equal(t, first["bert.pooler.dense.weight"], other["bert.pooler.dense.weight"], "comes from the file")
	assert.Equal(t, []float32{0, 0}, first["classifier.bias"])
	squares := 0.0
	for _, w := range first["classifier.weight"] {
		squares += float64(w) * float64(w)
	}
	assert.InDelta(t, 0.25, squares/64, 0.15, "64 draws from N(0, 0.5)")
}

// TestPickledWeights reads what torch.save wrote of the same weights.
func TestPickledWeights(t *testing.T) {
	unchanged(t)
	folder := tinyFolder(t, nil)
	want := values(load(t, folder, twoClasses, 1))
	data, err := os.ReadFile("testdata/tiny/bert_prefix.bin")
	require.NoError(t, err)
	remove("model.safetensors")(t, folder)
	write(t, filepath.Join(folder, "pytorch_model.bin"), string(data))
	c := load(t, folder, twoClasses, 1)
	assert.Equal(t, filepath.Join(folder, "pytorch_model.bin"), c.Source)
	assert.Equal(t, want, values(c))
}

func TestPoolerIsNewWhereTheFileHasNone(t *testing.T) {
	unchanged(t)
	open := func(seed uint64) map[string][]float32 {
		head := twoClasses
		head.Seed = seed
		c, err := text.LoadClassifier("testdata/tiny", "testdata/tiny/no_pooler.safetensors", head)
		require.NoError(t, err)
		defer c.Close()
		assert.Equal(t, []string{"bert.pooler.dense.weight", "bert.pooler.dense.bias", "classifier.weight", "classifier.bias"}, c.Report.Skipped)
		return values(c)
	}
	first, again, other := open(1), open(1), open(2)
	assert.Equal(t, first, again)
	assert.NotEqual(t, first["bert.pooler.dense.weight"], other["bert.pooler.dense.weight"])
}

func TestDropoutOfTheHead(t *testing.T) {
	unchanged(t)
	quarter := 0.25
	for _, c := range []struct {
		name     string
		settings settings
		head     *float64
		want     float64
	}{
		{"the model's hidden dropout", settings{"hidden_dropout_prob": 0.1}, nil, 0.1},
		{"the model's own for classifiers", settings{"hidden_dropout_prob": 0.1, "classifier_dropout": 0.5}, nil, 0.5},
		{"null is none of its own", settings{"hidden_dropout_prob": 0.1, "classifier_dropout": json.RawMessage("null")}, nil, 0.1},
		{"the spec's", settings{"hidden_dropout_prob": 0.1, "classifier_dropout": 0.5}, &quarter, 0.25},
	} {
		t.Run(c.name, func(t *testing.T) {
			head := twoClasses
			head.Dropout = c.head
			m := load(t, tinyFolder(t, c.settings), head, 1)
			assert.Equal(t, c.want, m.Dropout.P)
			assert.Equal(t, m.Config.HiddenDropoutProb, m.Bert.Embeddings.Dropout.P)
		})
	}
}
