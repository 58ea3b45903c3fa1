package recipe

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
	"github.com/thaw-ml/thaw/torch"
)

const textSpec = `model: model
head: {classes: [bad, good], pooling: mean}
data:
  train: rows.tsv
  columns: {text: t, label: l}
  test: every 5
  max_length: 16
phases:
  - {train: head, epochs: 1, lr: 1e-2}
device: cpu
`

// unchanged fails when tensors were left by the test.
func unchanged(t *testing.T) {
	before := torch.Stats()
	t.Cleanup(func() {
		after := torch.Stats()
		assert.Equal(t, [2]int64{before.Tensors, before.Collected}, [2]int64{after.Tensors, after.Collected}, "live tensors, collected ones")
	})
}

func write(t *testing.T, path, content string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
}

func here(t *testing.T) string {
	t.Helper()
	folder, err := os.Getwd()
	require.NoError(t, err)
	return folder
}

func sampleRows(n int) string {
	var b strings.Builder
	b.WriteString("t\tl\n")
	for i := range n {
		fmt.Fprintf(&b, "the film %d is %s\t%s\n", i, []string{"bad", "good"}[i%2], []string{"bad", "good"}[i%2])
	}
	return b.String()
}

// textPlace is a workplace with 20 rows and textSpec, edited: old, new, ...
func textPlace(t *testing.T, edits ...string) {
	t.Helper()
	workplace(t)
	write(t, "rows.tsv", sampleRows(20))
	write(t, "spec.yaml", strings.NewReplacer(edits...).Replace(textSpec))
}

// openTexts opens spec.yaml of the working folder.
func openTexts(t *testing.T, overrides ...string) (*textTask, error) {
	t.Helper()
	s, err := Read("spec.yaml", overrides...)
	require.NoError(t, err)
	task, err := Open(t.Context(), &s)
	if err != nil {
		return nil, err
	}
	t.Cleanup(task.Close)
	return task.(*textTask), nil
}

// counts are what is told of the data.
func (t *textTask) counts() []int {
	return []int{t.train.Len(), t.test.Len(), t.duplicates, t.notUTF8, t.empty}
}

func TestOpenTexts(t *testing.T) {
	unchanged(t)
	textPlace(t)
	task, err := openTexts(t)
	require.NoError(t, err)
	assert.Equal(t, []int{16, 4, 0, 0, 0}, task.counts())
	assert.Equal(t, 16, task.model.Config.MaxLength)
	assert.Equal(t, new(false), task.model.Config.Pairs)
	assert.Equal(t, [][2]string{
		{"model", "BERT, 2 layers of 32  0.0M parameters  " + here(t) + "/model/model.safetensors"},
		{"head", "new: 32 -> 2 [bad good], mean pooling"},
		{"data", "16 train · 4 test · median 7 tokens · 0 test texts also in train"},
	}, task.Describe())
}

func TestOpenTextsOfUnusualRows(t *testing.T) {
	unchanged(t)
	textPlace(t)
	// Rows 0 and 5 are the test's, so the first row that is not UTF-8 is one of those.
	write(t, "rows.tsv", "t\tl\nbad \xff\tbad\nbad film\tbad\ncaf\xe9 good\tgood\n  \tgood\ngood\tgood\nbad film\tbad\n\tgood\n")
	task, err := openTexts(t)
	require.NoError(t, err)
	assert.Equal(t, []int{5, 2, 1, 2, 2}, task.counts())
	assert.Equal(t, [][2]string{
		{"data", "5 train · 2 test · median 3 tokens · 1 test text also in train · 2 rows not UTF-8"},
		{"warning", "2 rows with bytes that are not UTF-8 (the first is " + here(t) + "/rows.tsv:2), kept with U+FFFD in their place"},
		{"warning", "2 rows without a text, kept as they are"},
		{"warning", "1 class with a single training sample; the first: \"bad\"  2 samples to test on"},
		{"warning", "1 class without a test sample: how well they are told is not measured, and a macro average counts them as 0; the first: \"good\"  4 samples to train on"},
	}, task.Describe()[2:])
}

// Without a length of the spec's, texts are cut where the model's positions end, and how many were is told.
func TestOpenTextsThatAreCut(t *testing.T) {
	unchanged(t)
	textPlace(t, "  max_length: 16\n", "")
	write(t, "rows.tsv", sampleRows(20)+strings.Repeat("good ", 31)+"\tgood\n"+strings.Repeat("bad ", 31)+"\tbad\n"+strings.Repeat("bad ", 30)+"\tbad\n")
	task, err := openTexts(t)
	require.NoError(t, err)
	assert.Equal(t, []int{32, 32}, []int{task.spec.Data.MaxLength, task.model.Config.MaxLength})
	assert.Equal(t, []int{1, 1}, []int{task.train.Truncated(), task.test.Truncated()})
	lines := task.Describe()
	assert.Equal(t, [2]string{"warning", "2 texts cut to 32 tokens (data.max_length)"}, lines[len(lines)-1])
}

func TestOpenTextsWithATestFile(t *testing.T) {
	unchanged(t)
	textPlace(t)
	write(t, "test.csv", "l,t\ngood,\"good, very good\"\n")
	task, err := openTexts(t, "data.test=test.csv")
	require.NoError(t, err)
	assert.Equal(t, []int{20, 1, 0, 0, 0}, task.counts())
	task, err = openTexts(t, `data.test=""`)
	require.NoError(t, err)
	assert.Equal(t, []int{20, 0, 0, 0, 0}, task.counts())
	assert.Equal(t, [2]string{"data", "20 train · 0 test · median 7 tokens"}, task.Describe()[2])
}

func TestOpenTextsRefuses(t *testing.T) {
	for _, c := range []struct {
		name  string
		edits []string // old, new, ...
		rows  string   // in place of rows.tsv
		want  string   // with FOLDER
	}{
		{"no model", []string{"model: model", "model: modle"}, "",
			`spec.yaml:1: model: there is no folder modle; did you mean "model"?`},
		{"a name in place of a folder", []string{"model: model", "model: bert-base-uncased"}, "",
			`spec.yaml:1: model: there is no folder bert-base-uncased, and bert-base-uncased is not here: thaw download bert-base-uncased brings it`},
		{"no data", []string{"rows.tsv", "rows.csv"}, "",
			`spec.yaml:4: data.train: there is no file FOLDER/rows.csv; did you mean "rows.tsv"?`},
		{"several at once", []string{"model: model", "model: x", "rows.tsv", "y.tsv", "every 5", "z.tsv"}, "",
			"spec.yaml:1: model: there is no folder x, and no model is named \"x\" (thaw models lists them; a Hugging Face repository is named like org/name or org/name@revision)\n" +
				"spec.yaml:4: data.train: there is no file FOLDER/y.tsv\n" +
				"spec.yaml:6: data.test: there is no file FOLDER/z.tsv"},
		{"run folder that exists", []string{"head: {", "out: model\nhead: {"}, "",
			`spec.yaml:2: out: FOLDER/model exists; nothing is overwritten`},
		{"more than the positions", []string{"max_length: 16", "max_length: 33"}, "",
			`spec.yaml:7: data.max_length: 33 is more than the 32 positions of the model`},
		{"no such stage", []string{"train: head", "train: layer.7"}, "",
			`spec.yaml:9: phases[0].train: no stage matches "layer.7"; this model has embeddings, layer.0, layer.1, head`},
		{"too many stages", []string{"train: head", "train: top 4"}, "",
			`spec.yaml:9: phases[0].train: "top 4" is more than the 3 stages before the head; this model has embeddings, layer.0, layer.1, head`},
		{"no such column", []string{"text: t", "text: txt"}, "", `spec.yaml:5: data.columns.text: FOLDER/rows.tsv:1: there is no column "txt"; the columns are "t", "l"`},
		{"no such label column", []string{"label: l", "label: lb"}, "", `spec.yaml:5: data.columns.label: FOLDER/rows.tsv:1: there is no column "lb"; the columns are "t", "l"; did you mean "l"?`},
		{"a step in one word", []string{"every 5", "every10"}, "", `spec.yaml:6: data.test: there is no file FOLDER/every10; did you mean "every 10"?`},
		{"a step in another", []string{"every 5", "evrey 10"}, "", `spec.yaml:6: data.test: there is no file FOLDER/evrey 10; did you mean "every 10"?`},
		{"label that is no class", []string{"good]", "great]"}, "", `spec.yaml:2: head.classes: FOLDER/rows.tsv:3: the label "good" is not a class; the classes are "bad", "great"`},
		{"class that is no label", []string{"good]", "good, neutral]"}, "", `spec.yaml:2: head.classes[2]: no row of FOLDER/rows.tsv has the label "neutral"; there are [bad good]`},
		{"empty file", nil, "\n", `FOLDER/rows.tsv: the file has no rows`},
		{"header alone", nil, "t\tl\n", `FOLDER/rows.tsv: the file has no rows`},
		{"too few rows", []string{"every 5", "0.1"}, "t\tl\na\tbad\nb\tgood\n",
			`spec.yaml:6: data.test: FOLDER/rows.tsv: split "0.1": of 2 samples it puts 2 into training and 0 into the test`},
		{"too few columns", nil, "t\tl\na\tbad\nb\n", `FOLDER/rows.tsv:3: expected 2 columns, got 1`},
		{"empty label", nil, "t\tl\na\tbad\nb\t\n", `FOLDER/rows.tsv:3: the label (column "l") is empty`},
		{"unknown format", []string{"rows.tsv", "model/vocab.txt"}, "", `FOLDER/model/vocab.txt: the name ends in none of .csv, .tsv, .jsonl (or these with .gz)`},
	} {
		t.Run(c.name, func(t *testing.T) {
			unchanged(t)
			textPlace(t, c.edits...)
			if c.rows != "" {
				write(t, "rows.tsv", c.rows)
			}
			_, err := openTexts(t)
			require.Error(t, err)
			assert.Equal(t, c.want, strings.ReplaceAll(err.Error(), here(t), "FOLDER"))
		})
	}
}

// Limits of the model are told before its weights and the rows are read.
func TestLimitsOfTheModel(t *testing.T) {
	for _, c := range []struct{ name, old, new, want string }{
		{"pairs", "columns: {text: t, label: l}", "columns: {text: t, pair: p, label: l}",
			"spec.yaml:5: data.columns.pair: the model tells no two texts apart: type_vocab_size of its config.json is 1"},
		{"length", "max_length: 16", "max_length: 65", "spec.yaml:7: data.max_length: 65 is more than the 64 positions of the model"},
	} {
		t.Run(c.name, func(t *testing.T) {
			unchanged(t)
			config, err := os.ReadFile("../text/testdata/configs/config-onesegment.json")
			require.NoError(t, err)
			textPlace(t, c.old, c.new)
			write(t, "model/config.json", string(config))
			write(t, "model/model.safetensors", "no weights")
			write(t, "rows.tsv", "no rows")
			_, err = openTexts(t)
			require.EqualError(t, err, c.want)
		})
	}
}

// A run's model and rows are opened again as they were.
func TestEvaluateRun(t *testing.T) {
	unchanged(t)
	textPlace(t)
	task, err := openTexts(t, "out=run", "phases[0].train=all", "phases[0].epochs=3")
	require.NoError(t, err)
	result, err := task.Train(t.Context(), nil)
	require.NoError(t, err)

	run, err := OpenRun("run")
	require.NoError(t, err)
	defer run.Close()
	score, err := run.Evaluate(t.Context(), EvalOptions{Device: "cpu", Precision: "auto"})
	require.NoError(t, err)
	assert.Equal(t, result.Best.Classes, score.Classes)
	assert.Equal(t, result.Best.Values, score.Values)
	assert.InDelta(t, result.Best.Loss, score.Loss, 1e-6)

	evaluate := func(data string) (rows int, err error) {
		score, err := run.Evaluate(t.Context(), EvalOptions{Data: data, Device: "cpu"})
		if err != nil {
			return 0, err
		}
		return score.Rows, nil
	}
	write(t, "other.jsonl", `{"t": "good film", "l": "good", "more": [1]}`+"\n")
	rows, err := evaluate("other.jsonl")
	require.NoError(t, err)
	assert.Equal(t, 1, rows)
	write(t, "other.jsonl", `{"t": "good film", "l": "great"}`+"\n")
	_, err = evaluate("other.jsonl")
	require.EqualError(t, err, `other.jsonl:1: the label "great" is not a class; the classes are "bad", "good"`)

	require.NoError(t, os.Remove("rows.tsv"))
	_, err = evaluate("")
	require.EqualError(t, err, "the test rows of run: open "+here(t)+"/rows.tsv: no such file or directory: name a file with --data")
	own, err := os.ReadFile("run/spec.yaml") // of a run with a test file the training rows may be gone
	require.NoError(t, err)
	write(t, "other.jsonl", `{"t": "good film", "l": "good"}`+"\n")
	write(t, "run/spec.yaml", regexp.MustCompile(`(?m)^( +)test: .*$`).ReplaceAllString(string(own), "${1}test: "+filepath.Join(here(t), "other.jsonl")))
	rows, err = evaluate("")
	require.NoError(t, err)
	assert.Equal(t, 1, rows)
	require.NoError(t, os.Remove("run/weights/best.safetensors"))
	_, err = OpenRun("run")
	require.EqualError(t, err, "run/weights has no weights: looked for model.safetensors, model.safetensors.index.json, best.safetensors, pytorch_model.bin")
}

// A metric that the objective does not measure is told with the place in the spec, before anything is trained.
func TestBestThatIsNotMeasured(t *testing.T) {
	unchanged(t)
	textPlace(t, "device:", "best: pearson\ndevice:")
	task, err := openTexts(t, "out=run")
	require.NoError(t, err)
	_, err = task.Train(t.Context(), func(e finetune.Event) error {
		assert.Fail(t, "something ran", "%v", e)
		return nil
	})
	require.ErrorAs(t, err, new(*SpecError))
	assert.EqualError(t, err, `spec.yaml:10: best: the best epoch is to be chosen by "pearson", and the objective measures loss, accuracy, macro_f1`)
	assert.NoDirExists(t, "run")
}

// A run of two thousand classes has a summary of a size that a person can open.
func TestSummaryOfManyClasses(t *testing.T) {
	unchanged(t)
	workplace(t)
	var rows, classes strings.Builder
	rows.WriteString("t\tl\n")
	for i := range 2000 {
		fmt.Fprintf(&rows, "film %d is good\tclass %d\nbad film %d\tclass %d\n", i, i, i, i)
		fmt.Fprintf(&classes, ", class %d", i)
	}
	write(t, "rows.tsv", rows.String())
	write(t, "spec.yaml", strings.NewReplacer("bad, good", classes.String()[2:], "epochs: 1", "epochs: 3").Replace(textSpec))
	task, err := openTexts(t, "out=run", "batch.size=256")
	require.NoError(t, err)
	_, err = task.Train(t.Context(), nil)
	require.NoError(t, err)
	info, err := os.Stat("run/summary.json")
	require.NoError(t, err)
	assert.Less(t, info.Size(), int64(1_000_000), "bytes")
	run, err := OpenRun("run")
	require.NoError(t, err)
	defer run.Close()
	found, err := run.Predict(t.Context(), []Input{{Text: "a film"}}, finetune.PredictOptions{})
	require.NoError(t, err)
	assert.Len(t, found[0].Top, 5)
	assert.Empty(t, found[0].Scores, "of more than 50 classes the five best are told")
}
