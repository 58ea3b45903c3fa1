package text_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/text"
)

const sampleSpec = `model: model
head: {classes: [bad, good], pooling: mean}
data:
  train: rows.tsv
  columns: {text: t, label: l}
  test: every 5
  max_length: 16
phases:
  - {train: head, epochs: 1, lr: 1e-2}
`

// workplace is a folder with a spec, 20 rows and the tiny model; it gives the spec's path.
func workplace(t testing.TB) string {
	t.Helper()
	folder := t.TempDir()
	require.NoError(t, os.Rename(tinyFolder(t, nil), filepath.Join(folder, "model")))
	write(t, filepath.Join(folder, "rows.tsv"), sampleRows(20))
	write(t, filepath.Join(folder, "spec.yaml"), sampleSpec)
	return filepath.Join(folder, "spec.yaml")
}

func sampleRows(n int) string {
	var b strings.Builder
	b.WriteString("t\tl\n")
	for i := range n {
		fmt.Fprintf(&b, "the film %d is %s\t%s\n", i, []string{"bad", "good"}[i%2], []string{"bad", "good"}[i%2])
	}
	return b.String()
}

func prepare(t testing.TB, spec string, overrides ...string) (*text.Task, error) {
	t.Helper()
	s, err := finetune.ReadSpec(spec, overrides...)
	require.NoError(t, err)
	task, err := text.Prepare(&s)
	if err == nil {
		t.Cleanup(task.Model.Close)
	}
	return task, err
}

func TestPrepare(t *testing.T) {
	unchanged(t)
	task, err := prepare(t, workplace(t))
	require.NoError(t, err)
	assert.Equal(t, []int{16, 4, 0, 0, 0}, []int{task.Train.Len(), task.Test.Len(), task.Duplicates, task.NotUTF8, task.Empty})
	assert.Equal(t, 16, task.Model.Config.MaxLength)
	folder := filepath.Dir(task.Model.Source)
	assert.Equal(t, [][2]string{
		{"model", "BERT, 2 layers of 32  0.0M parameters  " + folder + "/model.safetensors"},
		{"head", "new: 32 -> 2 [bad good], mean pooling"},
		{"data", "16 train · 4 test · median 7 tokens · 0 test texts also in train"},
	}, task.Describe())
}

func TestPrepareOfUnusualRows(t *testing.T) {
	unchanged(t)
	spec := workplace(t)
	rows := filepath.Join(filepath.Dir(spec), "rows.tsv")
	// Rows 0 and 5 are the test's, so the first row that is not UTF-8 is one of those.
	write(t, rows, "t\tl\nbad \xff\tbad\nbad film\tbad\ncaf\xe9 good\tgood\n  \tgood\ngood\tgood\nbad film\tbad\n\tgood\n")
	task, err := prepare(t, spec)
	require.NoError(t, err)
	assert.Equal(t, []int{5, 2, 1, 2, 2}, []int{task.Train.Len(), task.Test.Len(), task.Duplicates, task.NotUTF8, task.Empty})
	assert.Equal(t, [][2]string{
		{"data", "5 train · 2 test · median 3 tokens · 1 test text also in train · 2 rows not UTF-8"},
		{"warning", "2 rows with bytes that are not UTF-8 (the first is " + rows + ":2), kept with U+FFFD in their place"},
		{"warning", "2 rows without a text, kept as they are"},
	}, task.Describe()[2:])
}

// Limits of the model are told before its weights and the rows are read.
func TestPrepareOfLimits(t *testing.T) {
	unchanged(t)
	for _, c := range []struct{ name, old, new, want string }{
		{"pairs", "columns: {text: t, label: l}", "columns: {text: t, pair: p, label: l}",
			"FOLDER/spec.yaml:5: data.columns.pair: the model has 1 segment (type_vocab_size), and pairs of texts take 2"},
		{"length", "max_length: 16", "max_length: 65", "FOLDER/spec.yaml:7: data.max_length: 65 is more than the 64 positions of the model"},
	} {
		spec := workplace(t)
		folder := filepath.Dir(spec)
		write(t, spec, strings.Replace(sampleSpec, c.old, c.new, 1))
		config, err := os.ReadFile("testdata/configs/config-onesegment.json")
		require.NoError(t, err)
		write(t, filepath.Join(folder, "model/config.json"), string(config))
		write(t, filepath.Join(folder, "model/model.safetensors"), "no weights")
		write(t, filepath.Join(folder, "rows.tsv"), "no rows")
		_, err = prepare(t, spec)
		require.Error(t, err)
		assert.Equal(t, c.want, strings.ReplaceAll(err.Error(), folder, "FOLDER"))
	}
}

// Without a length of the spec's, texts are cut where the model's positions end, and those that were are told.
func TestPrepareCuts(t *testing.T) {
	unchanged(t)
	spec := workplace(t)
	write(t, spec, strings.Replace(sampleSpec, "  max_length: 16\n", "", 1))
	rows := sampleRows(20) + strings.Repeat("good ", 31) + "\tgood\n" + strings.Repeat("bad ", 31) + "\tbad\n" + strings.Repeat("bad ", 30) + "\tbad\n"
	write(t, filepath.Join(filepath.Dir(spec), "rows.tsv"), rows)
	s, err := finetune.ReadSpec(spec)
	require.NoError(t, err)
	task, err := text.Prepare(&s)
	require.NoError(t, err)
	defer task.Model.Close()
	assert.Equal(t, []int{32, 32}, []int{s.Data.MaxLength, task.Model.Config.MaxLength})
	assert.Equal(t, 2, task.Train.Truncated()+task.Test.Truncated())
	lines := task.Describe()
	assert.Equal(t, [2]string{"warning", "2 texts are longer than 32 tokens (data.max_length), cut there: 1 of train, 1 of test"}, lines[len(lines)-1])
}

// A model knows whether it was trained on pairs.
func TestPrepareOfPairs(t *testing.T) {
	unchanged(t)
	spec := workplace(t)
	task, err := prepare(t, spec)
	require.NoError(t, err)
	assert.Equal(t, new(false), task.Model.Config.Pairs)
	pairs := "a\tb\tl\n" + strings.Repeat("the film\tis good\tgood\nis it\tnot bad\tbad\n", 5)
	write(t, filepath.Join(filepath.Dir(spec), "rows.tsv"), pairs)
	write(t, spec, strings.Replace(sampleSpec, "text: t, label: l", "text: a, pair: b, label: l", 1))
	task, err = prepare(t, spec)
	require.NoError(t, err)
	assert.Equal(t, new(true), task.Model.Config.Pairs)
	_, err = task.Model.Predict(t.Context(), []string{"good"}, 1)
	require.EqualError(t, err, `"good" has no second text, and the model was trained on pairs of texts`)
}

func TestPrepareOfTestFile(t *testing.T) {
	unchanged(t)
	spec := workplace(t)
	write(t, filepath.Join(filepath.Dir(spec), "test.csv"), "l,t\ngood,\"good, very good\"\n")
	task, err := prepare(t, spec, "data.test="+filepath.Join(filepath.Dir(spec), "test.csv"))
	require.NoError(t, err)
	assert.Equal(t, []int{20, 1}, []int{task.Train.Len(), task.Test.Len()})
	task, err = prepare(t, spec, `data.test=""`)
	require.NoError(t, err)
	assert.Equal(t, []int{20, 0}, []int{task.Train.Len(), task.Test.Len()})
	assert.Equal(t, [2]string{"data", "20 train · 0 test · median 7 tokens"}, task.Describe()[2])
}

func TestPrepareOfWrongSpecs(t *testing.T) {
	for _, c := range []struct {
		name  string
		edits []string // old, new, ...
		rows  string   // in place of rows.tsv
		want  string   // with FOLDER
	}{
		{"no model", []string{"model: model", "model: modle"}, "",
			`FOLDER/spec.yaml:1: model: there is no folder FOLDER/modle; did you mean "model"?`},
		{"a name in place of a folder", []string{"model: model", "model: bert-base-uncased"}, "",
			`FOLDER/spec.yaml:1: model: there is no folder FOLDER/bert-base-uncased, and bert-base-uncased is not here: thaw download bert-base-uncased brings it`},
		{"no data", []string{"rows.tsv", "rows.csv"}, "",
			`FOLDER/spec.yaml:4: data.train: there is no file FOLDER/rows.csv; did you mean "rows.tsv"?`},
		{"several at once", []string{"model: model", "model: x", "rows.tsv", "y.tsv", "every 5", "z.tsv"}, "",
			"FOLDER/spec.yaml:1: model: there is no folder FOLDER/x, and no model is named \"x\" (thaw models lists them; a Hugging Face repository is named like org/name or org/name@revision)\n" +
				"FOLDER/spec.yaml:4: data.train: there is no file FOLDER/y.tsv\n" +
				"FOLDER/spec.yaml:6: data.test: there is no file FOLDER/z.tsv"},
		{"run folder that exists", []string{"head: {", "out: model\nhead: {"}, "",
			`FOLDER/spec.yaml:2: out: FOLDER/model exists; nothing is overwritten`},
		{"more than the positions", []string{"max_length: 16", "max_length: 33"}, "",
			`FOLDER/spec.yaml:7: data.max_length: 33 is more than the 32 positions of the model`},
		{"no such stage", []string{"train: head", "train: layer.7"}, "",
			`FOLDER/spec.yaml:9: phases[0].train: no stage matches "layer.7"; this model has embeddings, layer.0, layer.1, head`},
		{"too many stages", []string{"train: head", "train: top 4"}, "",
			`FOLDER/spec.yaml:9: phases[0].train: "top 4" is more than the 3 stages before the head; this model has embeddings, layer.0, layer.1, head`},
		{"no such column", []string{"text: t", "text: txt"}, "", `FOLDER/rows.tsv:1: there is no column "txt"; the columns are "t", "l"`},
		{"no such label column", []string{"label: l", "label: lb"}, "", `FOLDER/rows.tsv:1: there is no column "lb"; the columns are "t", "l"; did you mean "l"?`},
		{"label that is no class", []string{"good]", "great]"}, "", `FOLDER/spec.yaml:2: head.classes: FOLDER/rows.tsv:3: the label "good" is not a class; the classes are "bad", "great"`},
		{"class that is no label", []string{"good]", "good, neutral]"}, "", `FOLDER/spec.yaml:2: head.classes[2]: no row of FOLDER/rows.tsv has the label "neutral"; there are [bad good]`},
		{"empty file", nil, "\n", `FOLDER/rows.tsv: the file has no rows`},
		{"header alone", nil, "t\tl\n", `FOLDER/rows.tsv: the file has no rows`},
		{"too few rows", []string{"every 5", "0.01"}, "", `FOLDER/spec.yaml:6: data.test: split "0.01": of the 20 rows of FOLDER/rows.tsv it puts 20 into training and 0 into the test`},
		{"too few columns", nil, "t\tl\na\tbad\nb\n", `FOLDER/rows.tsv:3: expected 2 columns, got 1`},
		{"empty label", nil, "t\tl\na\tbad\nb\t\n", `FOLDER/rows.tsv:3: the label (column "l") is empty`},
		{"unknown format", []string{"rows.tsv", "model/vocab.txt"}, "", `FOLDER/model/vocab.txt: the name ends in none of .csv, .tsv, .jsonl (or these with .gz)`},
	} {
		t.Run(c.name, func(t *testing.T) {
			unchanged(t)
			spec := workplace(t)
			folder := filepath.Dir(spec)
			write(t, spec, strings.NewReplacer(c.edits...).Replace(sampleSpec))
			if c.rows != "" {
				write(t, filepath.Join(folder, "rows.tsv"), c.rows)
			}
			_, err := prepare(t, spec)
			require.Error(t, err)
			assert.Equal(t, c.want, strings.ReplaceAll(err.Error(), folder, "FOLDER"))
		})
	}
}

// A run's model and rows are opened again as they were.
func TestOpenRun(t *testing.T) {
	unchanged(t)
	spec := workplace(t)
	folder := filepath.Dir(spec)
	out := filepath.Join(folder, "run")
	s, err := finetune.ReadSpec(spec, "out="+out, "device=cpu", "phases[0].train=all", "phases[0].epochs=3")
	require.NoError(t, err)
	task, err := text.Prepare(&s)
	require.NoError(t, err)
	defer task.Model.Close()
	result, err := finetune.Run(t.Context(), s, task.Model, task.Train, task.Test, nil)
	require.NoError(t, err)

	model, data, err := text.OpenRun(out, "")
	require.NoError(t, err)
	defer model.Close()
	assert.Equal(t, task.Test, data)
	assert.Equal(t, 16, model.Config.MaxLength)
	inference, err := finetune.NewInference(model, "cpu", "auto")
	require.NoError(t, err)
	metrics, err := inference.Evaluate(t.Context(), data, 64, nil)
	require.NoError(t, err)
	assert.Equal(t, result.Best.Confusion, metrics.Confusion)
	assert.InDelta(t, result.Best.Loss, metrics.Loss, 1e-6)

	other := filepath.Join(folder, "other.jsonl")
	write(t, other, `{"t": "good film", "l": "good", "more": [1]}`+"\n")
	again, data, err := text.OpenRun(out, other)
	require.NoError(t, err)
	defer again.Close()
	assert.Equal(t, 1, data.Len())

	write(t, other, `{"t": "good film", "l": "great"}`+"\n")
	_, _, err = text.OpenRun(out, other)
	require.EqualError(t, err, other+`:1: the label "great" is not a class; the classes are "bad", "good"`)
	_, _, err = text.OpenRun(folder+"/model", "")
	require.EqualError(t, err, folder+"/model is no run folder: read the spec: open "+folder+"/model/spec.yaml: no such file or directory")
	require.NoError(t, os.Remove(filepath.Join(folder, "rows.tsv")))
	_, _, err = text.OpenRun(out, "")
	require.EqualError(t, err, "the test rows of "+out+": open "+folder+"/rows.tsv: no such file or directory: name a file with --data")
	own, err := os.ReadFile(filepath.Join(out, "spec.yaml")) // of a run with a test file the training rows may be gone
	require.NoError(t, err)
	write(t, other, `{"t": "good film", "l": "good"}`+"\n")
	write(t, filepath.Join(out, "spec.yaml"), regexp.MustCompile(`(?m)^( +)test: .*$`).ReplaceAllString(string(own), "${1}test: "+other))
	last, data, err := text.OpenRun(out, "")
	require.NoError(t, err)
	defer last.Close()
	assert.Equal(t, 1, data.Len())
	require.NoError(t, os.Remove(filepath.Join(out, "weights/best.safetensors")))
	write(t, other, `{"t": "good film", "l": "good"}`+"\n")
	_, _, err = text.OpenRun(out, other)
	require.EqualError(t, err, out+"/weights has no weights: looked for model.safetensors, model.safetensors.index.json, best.safetensors, pytorch_model.bin")
}
