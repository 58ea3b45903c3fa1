package main

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Each is told in full, and nothing is written.
func TestWrongTraining(t *testing.T) {
	for _, c := range []struct {
		name   string
		edits  []string // of the spec: old, new, ...
		change func(t *testing.T)
		code   int
		want   string // with FOLDER
	}{
		{"wrong key", []string{"epochs: 4", "epoch: 4"}, nil, exitUsage, "spec.yaml:9: phases[0].epoch: unknown key; did you mean \"epochs\"?\n"},
		{"wrong value", []string{"lr: 5e-3, head", "lr: -1, head"}, nil, exitUsage, "spec.yaml:9: phases[0].lr: must be above 0, found -1\n"},
		{"no YAML", []string{"{train", "[train"}, nil, exitUsage, "spec.yaml:9: did not find expected ',' or ']'\n"},
		{"no model", []string{"model: model", "model: bert-base-uncased"}, nil, exitUsage, "spec.yaml:1: model: there is no folder bert-base-uncased, and bert-base-uncased is not here: thaw download bert-base-uncased brings it\n"},
		{"model that is only downloaded", []string{"model: model", "model: distilbert-base-uncased"}, nil, exitUsage,
			"spec.yaml:1: model: there is no folder distilbert-base-uncased, and distilbert-base-uncased is a text encoder other than BERT, which Thaw does not fine-tune yet\n"},
		{"stage", []string{"train: all", "train: layer.9"}, nil, exitUsage,
			"spec.yaml:9: phases[0].train: no stage matches \"layer.9\"; this model has embeddings, layer.0, layer.1, head\n"},
		{"pattern", []string{"train: all", `train: "*.gamma"`}, nil, exitUsage, "spec.yaml:9: phases[0].train: no parameter matches \"*.gamma\"; they are named like classifier.weight\n"},
		{"run folder that exists", []string{"model: model", "model: model\nout: old"}, func(t *testing.T) { require.NoError(t, os.Mkdir("old", 0o755)) }, exitUsage,
			"spec.yaml:2: out: FOLDER/old exists; nothing is overwritten\n"},
		{"device", []string{"model: model", "model: model\ndevice: cuda"}, nil, exitUsage, "spec.yaml:2: device: cuda:0: this program has no CUDA: build it with -tags cuda after make deps-cuda\n"},
		{"device and files", []string{"model: model", "model: none\ndevice: cuda", "rows.tsv", "none.tsv"}, nil, exitUsage,
			"spec.yaml:1: model: there is no folder none, and no model is named \"none\" (thaw models lists them; a Hugging Face repository is named like org/name or org/name@revision)\n" +
				"spec.yaml:2: device: cuda:0: this program has no CUDA: build it with -tags cuda after make deps-cuda\n" +
				"spec.yaml:5: data.train: there is no file FOLDER/none.tsv; did you mean \"rows.tsv\"?\n"},
		{"run folder in a file", []string{"model: model", "model: model\nout: rows.tsv/runs/1"}, nil, exitUsage,
			"spec.yaml:2: out: no folder can be made in FOLDER/rows.tsv: it is a file\n"},
		{"label", []string{"[bad, good]", "[bad, great]"}, nil, exitUsage, "spec.yaml:2: head.classes: FOLDER/rows.tsv:3: the label \"good\" is not a class; the classes are \"bad\", \"great\"\n"},
		{"column", []string{"text: t", "text: txt"}, nil, exitUsage, "spec.yaml:5: data.columns.text: FOLDER/rows.tsv:1: there is no column \"txt\"; the columns are \"t\", \"l\"\n"},
		{"empty data", nil, func(t *testing.T) { write(t, "rows.tsv", "") }, exitFailed, "thaw: FOLDER/rows.tsv: the file is empty\n"},
		{"data that is no table", nil, func(t *testing.T) { write(t, "rows.tsv", "\x00\x01\x02\n\xff\xff") }, exitUsage, "spec.yaml:5: data.columns.text: FOLDER/rows.tsv:1: there is no column \"t\"; the columns are \"\\x00\\x01\\x02\"\n"},
		{"data of UTF-16", nil, func(t *testing.T) { write(t, "rows.tsv", "\xff\xfet\x00\t\x00l\x00") }, exitFailed, "thaw: FOLDER/rows.tsv:1: the file is UTF-16; save it as UTF-8\n"},
		{"unreadable data", nil, func(t *testing.T) {
			if os.Getuid() == 0 {
				t.Skip("root reads everything")
			}
			require.NoError(t, os.Chmod("rows.tsv", 0))
		}, exitFailed, "thaw: open FOLDER/rows.tsv: permission denied\n"},
		{"data that is a folder", []string{"rows.tsv", "model"}, nil, exitUsage, "spec.yaml:4: data.train: FOLDER/model is a folder; expected a file\n"},
		{"truncated weights", nil, func(t *testing.T) { require.NoError(t, os.Truncate("model/model.safetensors", 50_000)) }, exitFailed, "thaw: FOLDER/model/model.safetensors: tensor \"encoder.layer.1.attention.output.dense.weight\": " +
			"data_offsets [45856, 49952] reach past the end of the file, which has 45952 bytes of data: truncated?\n"},
		{"weights of another model", nil, func(t *testing.T) { require.NoError(t, os.Truncate("model/model.safetensors", 4)) }, exitFailed,
			"thaw: FOLDER/model/model.safetensors: 4 bytes are too few: the length of the header alone takes 8\n"},
		{"config", nil, func(t *testing.T) { write(t, "model/config.json", `{"model_type": "gpt2"}`) }, exitFailed,
			"thaw: FOLDER/model/config.json: model_type is \"gpt2\", and only bert is supported\n"},
		{"tokenizer", nil, func(t *testing.T) { require.NoError(t, os.Remove("model/vocab.txt")) }, exitFailed,
			"thaw: tokenizer: FOLDER/model: there is neither tokenizer.json nor vocab.txt\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			folder := workplace(t)
			write(t, "spec.yaml", strings.NewReplacer(c.edits...).Replace(sampleSpec))
			if c.change != nil {
				c.change(t)
			}
			before := listing(t)
			got := invoke(t, "", "train", "spec.yaml")
			assert.Equal(t, c.code, got.code)
			assert.Equal(t, c.want, strings.ReplaceAll(got.err, folder, "FOLDER"))
			assert.Equal(t, before, listing(t))
		})
	}
}

func TestWrongRuns(t *testing.T) {
	folder := trained(t)
	write(t, "wrong.tsv", "t\tl\na\tgreat\n")
	write(t, "column.tsv", "text\tl\na\tgood\n")
	write(t, "empty.jsonl", "")
	weights, err := os.ReadFile("run/weights/best.safetensors")
	require.NoError(t, err)
	write(t, "half.safetensors", string(weights[:len(weights)/2]))
	before := listing(t)
	for _, c := range []struct {
		args string
		want string
	}{
		{"eval run --data wrong.tsv", "thaw: FOLDER/wrong.tsv:2: the label \"great\" is not a class; the classes are \"bad\", \"good\"\n"},
		{"eval run --data column.tsv", "thaw: FOLDER/column.tsv:1: there is no column \"t\"; the columns are \"text\", \"l\"; did you mean \"l\"?\n"},
		{"eval run --data empty.jsonl", "thaw: FOLDER/empty.jsonl: the file is empty\n"},
		{"predict --model model text", "thaw: model/config.json: architectures is \"BertModel\": no classifier of whole texts, which is \"BertForSequenceClassification\"\n"},
		{"predict --model run/weights --weights half.safetensors text", "thaw: FOLDER/half.safetensors: tensor \"bert.encoder.layer.0.intermediate.dense.weight\": " +
			"data_offsets [34592, 39712] reach past the end of the file, which has 34636 bytes of data: truncated?\n"},
		{"predict --model run/weights --weights model/model.safetensors text", "thaw: FOLDER/model/model.safetensors does not fit the model: 2 keys missing (classifier.weight, classifier.bias); " +
			"2 keys unexpected (pooler.dense.bias, pooler.dense.weight)\n"},
		{"tokenize --model spec.yaml", "thaw: tokenizer: spec.yaml: no line holds the token \"[UNK]\"\n"},
	} {
		got := invoke(t, "", strings.Fields(c.args)...)
		got.err = strings.ReplaceAll(got.err, folder, "FOLDER")
		assert.Equal(t, outcome{exitFailed, "", c.want}, got, c.args)
	}
	assert.Equal(t, before, listing(t))
}

// What a flag says of where a model runs is a wrong command line.
func TestWrongDevices(t *testing.T) {
	trained(t)
	for _, c := range []struct{ args, want string }{
		{"eval run --device gpu", `eval: --device: expected auto, cpu, cuda, cuda:0, found "gpu"; did you mean "cuda"?`},
		{"eval run --precision half", `eval: --precision: expected auto, float32, bfloat16, float16, found "half"; did you mean "float16"?`},
		{"predict run --device cuda:x text", `predict: --device: expected auto, cpu, cuda, cuda:0, found "cuda:x"; did you mean "cuda:0"?`},
	} {
		assert.Equal(t, outcome{exitUsage, "", "thaw: " + c.want + "\n"}, invoke(t, "", strings.Fields(c.args)...), c.args)
	}
	assert.Equal(t, invoke(t, "", "eval", "run", "--device", "cpu"), invoke(t, "", "eval", "run", "--device", "cpu", "--precision", "float32"))
}

// broken is a pipe that nobody reads, or one that nobody writes.
type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, syscall.EPIPE }
func (broken) Read([]byte) (int, error)  { return 0, errors.New("input/output error") }

func TestBrokenPipes(t *testing.T) {
	trained(t)
	many := strings.Repeat("the film was great\n", 1000)
	for _, args := range [][]string{{"predict", "run"}, {"predict", "run", "--json"}, {"predict", "run", "text"}, {"eval", "run"},
		{"eval", "run", "--json"}, {"tokenize", "--model=model"}, {"version"}, {"doctor"}, {"doctor", "--json"}, {"train", "spec.yaml"}} {
		var err strings.Builder
		code := run(t.Context(), args, streams{strings.NewReader(many), broken{}, &err, nil})
		assert.Contains(t, []int{exitOK, exitPipe}, code, args)
		assert.Empty(t, err.String(), args)
	}
	for _, args := range [][]string{{"predict", "run"}, {"tokenize", "--model=model"}} {
		assert.Equal(t, outcome{exitFailed, "", "thaw: input/output error\n"}, thawIn(t.Context(), broken{}, args...))
	}
}
