package recipe

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune"
)

const reviews = `# a spec as short as may be
model: ../models/minilm
head: {classes: [negative, positive], pooling: mean}
data:
  train: reviews.tsv
  columns: {text: snippet, label: sentiment}
  test: 0.1
phases:
  - {train: head,    epochs: 1, lr: 1e-3}
  - {train: [top 2], epochs: 2, lr: 2e-4, layer_decay: 0.9}
seed: 1
`

func TestParseFillsInDefaults(t *testing.T) {
	got, err := Parse("/specs/reviews.yaml", []byte(reviews))
	require.NoError(t, err)
	want := Spec{
		Kind:  "texts",
		Model: "/models/minilm",
		Head:  Head{Objective: Classification, Classes: []string{"negative", "positive"}, Pooling: "mean"},
		Data: Data{Train: "/specs/reviews.tsv", Columns: Columns{Text: "snippet", Label: "sentiment"},
			Test: "0.1", MaxLength: 128},
		Phases: []Phase{
			{Train: Selection(finetune.HeadOnly()), Epochs: 1, LR: 1e-3, HeadLR: 1e-3, LayerDecay: 1, WarmUp: new(0.1), Schedule: "linear"},
			{Train: Selection(finetune.Top(2)), Epochs: 2, LR: 2e-4, HeadLR: 10 * 2e-4, LayerDecay: 0.9, WarmUp: new(0.1), Schedule: "linear"},
		},
		Batch:     Batch{Size: 32, EvalSize: 64},
		Optimizer: Optimizer{Name: "adamw", WeightDecay: new(0.01), Betas: [2]float64{0.9, 0.999}, Eps: 1e-8},
		ClipNorm:  new(1.0), Precision: "auto", Device: "auto", Cache: Cache{Place: "auto", Precision: "auto"}, Graph: "auto", Seed: 1,
		Checkpoint: Checkpoint{Every: "10m", Keep: 2},
	}
	assert.True(t, got.Equal(want))
	got.source = nil
	assert.Equal(t, want, got)
}

func TestYAMLIsReadable(t *testing.T) {
	s, err := Parse("/specs/reviews.yaml", []byte(reviews),
		"head.classes=[no, yes]", "phases[0].schedule=one-cycle", "phases[1].train=[layer.4, '*.bias']", "head.dropout=0", "clip_norm=0")
	require.NoError(t, err)
	text, err := s.YAML()
	require.NoError(t, err)
	golden := filepath.Join("testdata", "resolved.yaml")
	if os.Getenv("UPDATE_GOLDEN") != "" {
		require.NoError(t, os.WriteFile(golden, text, 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	assert.Equal(t, string(want), string(text))
	requireRoundTrip(t, s)
}

// requireRoundTrip checks that a resolved spec says the same once written and read in another folder.
func requireRoundTrip(t *testing.T, s Spec) {
	t.Helper()
	text, err := s.YAML()
	require.NoError(t, err)
	again, err := Parse("/elsewhere/spec.yaml", text)
	require.NoError(t, err, "%s", text)
	require.True(t, s.Equal(again), "%s", text)
	twice, err := again.YAML()
	require.NoError(t, err)
	require.Equal(t, string(text), string(twice))
}

func TestYAMLRoundTrips(t *testing.T) {
	for name, overrides := range map[string][]string{
		"sgd":         {"optimizer={name: sgd, momentum: 0, weight_decay: 0}"},
		"nesterov":    {"optimizer={name: sgd, nesterov: true}"},
		"zeros":       {"clip_norm=0", "phases[0].warm_up=0", "optimizer.weight_decay=0", "optimizer.betas=[0, 0.5]"},
		"numbers":     {"seed=18446744073709551615", "phases[0].lr=5e-324", "phases[0].head_lr=1e20", "optimizer.eps=0.1234567890123456789"},
		"odd classes": {`head.classes=[no, "null", ~, "1e3", " x ", "a: b", "#", "é\u2028\x01\ufeff", "- x", "a\nb", "\t"]`},
		"every":       {"data.test=every  10"},
		"test file":   {"data.test=held out.tsv", "data.columns.pair=1"},
		"share":       {"data.test=.10"},
		"one-cycle":   {"phases[1].schedule=one-cycle"},
		"device":      {"device=cuda:1", "precision=bfloat16", "cache=off", "threads=2", "out=runs/x", "weights=w.safetensors"},
		"pattern":     {"phases[0].train=*.bias"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Parse("reviews.yaml", []byte(reviews), overrides...)
			require.NoError(t, err)
			requireRoundTrip(t, s)
		})
	}
}

// A saved spec of either optimizer can be run with the other: it names nothing that is the other's.
func TestSavedSpecsTakeTheOtherOptimizer(t *testing.T) {
	s, err := Parse("reviews.yaml", []byte(reviews), "optimizer={name: sgd}")
	require.NoError(t, err)
	text, err := s.YAML()
	require.NoError(t, err)
	assert.NotContains(t, string(text), "betas")
	s, err = Parse("saved.yaml", text, "optimizer={name: adamw}")
	require.NoError(t, err)
	assert.Equal(t, Betas{0.9, 0.999}, s.Optimizer.Betas)
}

func TestClassesAreTakenAsSpelled(t *testing.T) {
	s, err := Parse("r.yaml", []byte(strings.Replace(reviews, "[negative, positive]", "[no, yes, on, 1, 1.0, 0x10, null, ~, true, 2026-01-01, \"\\t\"]", 1)))
	require.NoError(t, err)
	assert.Equal(t, []string{"no", "yes", "on", "1", "1.0", "0x10", "null", "~", "true", "2026-01-01", "\t"}, s.Head.Classes)
}

func TestPathsAreRelativeToWhereTheyStand(t *testing.T) {
	wd, err := os.Getwd()
	require.NoError(t, err)
	s, err := Parse("specs/reviews.yaml", []byte(reviews+"out: ../runs/a\n"), "data.test=held.tsv", "weights=/w/x.safetensors", "model=[m]: #1")
	require.NoError(t, err)
	assert.Equal(t, filepath.Join(wd, "[m]: #1"), s.Model, "an override of a path is taken as it stands")
	assert.Equal(t, "/w/x.safetensors", s.Weights)
	assert.Equal(t, filepath.Join(wd, "specs/reviews.tsv"), s.Data.Train)
	assert.Equal(t, filepath.Join(wd, "held.tsv"), s.Data.Test)
	assert.Equal(t, filepath.Join(wd, "runs/a"), s.Out)
	path, ok := s.Data.TestFile()
	assert.True(t, ok)
	assert.Equal(t, s.Data.Test, path)
}

func TestTestFile(t *testing.T) {
	for test, want := range map[string]bool{"": false, "0.1": false, "every 10": false, "held.tsv": true, "10.tsv": true, "everyday.tsv": true} {
		_, ok := Data{Test: test}.TestFile()
		assert.Equal(t, want, ok, test)
	}
}

func TestResolvedInGo(t *testing.T) {
	s := Spec{Phases: []Phase{{Train: Selection(finetune.HeadOnly()), Epochs: 1, LR: 1e-3}, {Train: Selection(finetune.Top(2)), Epochs: 2, LR: 2e-4}}}
	r, err := s.Resolved()
	require.NoError(t, err)
	assert.Nil(t, s.Phases[0].WarmUp, "the spec itself is left as it was")
	assert.Equal(t, 1e-3, r.Phases[0].HeadLR)
	assert.Equal(t, 10*2e-4, r.Phases[1].HeadLR)
	again, err := r.Resolved()
	require.NoError(t, err)
	assert.True(t, r.Equal(again))
	*again.ClipNorm = 0
	assert.Equal(t, 1.0, *r.ClipNorm, "nothing is shared")
	again, err = again.Resolved()
	require.NoError(t, err)
	assert.Equal(t, 0.0, *again.ClipNorm, "0 is off, not the default")

	_, err = Spec{
		Model:  "m",
		Head:   Head{Classes: []string{"a\xff", "b"}},
		Phases: []Phase{{Train: Selection(finetune.Top(0)), Epochs: -1, LR: math.Inf(1)}, {}},
		Batch:  Batch{Size: -1}, ClipNorm: new(math.NaN()), LabelSmoothing: math.NaN(), Device: "gpu",
	}.Resolved()
	assert.EqualError(t, err, `head.classes[0]: "a\xff" is no text: it has bytes that are not UTF-8, or 0
phases[0].train: expected "top" and a number from 1 up, such as "top 2", found "top 0"
phases[0].epochs: must be 1 or more, found -1
phases[0].lr: must be above 0, found +Inf
phases[1].train: missing: what to train, such as head, all or "top 2"
phases[1].epochs: missing: the passes over the training rows
phases[1].lr: missing: the highest learning rate, such as 2e-5
batch.size: must be 1 or more, found -1
clip_norm: must be 0 (off) or above, found NaN
label_smoothing: must be from 0 to below 1, found NaN
device: expected auto, cpu, cuda, cuda:0, found "gpu"; did you mean "cuda"?`)
}

func TestErrorfNamesThePlace(t *testing.T) {
	s, err := Parse("/specs/reviews.yaml", []byte(reviews), "phases[1].lr=1e-5", "optimizer={name: sgd}")
	require.NoError(t, err)
	cause := errors.New("no stage matches")
	for key, want := range map[string]string{
		"phases[1].train":    `/specs/reviews.yaml:10: phases[1].train: no stage matches`,
		"phases[1].train[0]": `/specs/reviews.yaml:10: phases[1].train[0]: no stage matches`,
		"phases[1].schedule": `/specs/reviews.yaml:10: phases[1].schedule: no stage matches`,
		"phases[1].lr":       `command line: phases[1].lr=1e-5: no stage matches`,
		"optimizer.name":     `command line: optimizer={name: sgd}: optimizer.name: no stage matches`,
		"optimizer.momentum": `command line: optimizer={name: sgd}: optimizer.momentum: no stage matches`,
		"data.columns.pair":  `/specs/reviews.yaml:6: data.columns.pair: no stage matches`,
		"threads":            `/specs/reviews.yaml: threads: no stage matches`,
		"":                   `/specs/reviews.yaml: no stage matches`,
	} {
		got := s.Errorf(key, "%w", cause)
		assert.EqualError(t, got, want)
		assert.ErrorIs(t, got, cause)
	}
	inGo := Spec{}
	assert.EqualError(t, inGo.Errorf("phases[0].lr", "%d", 1), "phases[0].lr: 1")
	fault, ok := errors.AsType[*SpecError](s.Errorf("phases[1].train", "x"))
	require.True(t, ok)
	assert.Equal(t, 10, fault.Line)
}

func TestRead(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "reviews.yaml")
	require.NoError(t, os.WriteFile(path, []byte(reviews), 0o644))
	s, err := Read(path, "seed=7")
	require.NoError(t, err)
	assert.Equal(t, uint64(7), s.Seed)
	assert.Equal(t, filepath.Join(folder, "reviews.tsv"), s.Data.Train)

	_, err = Read(filepath.Join(folder, "none.yaml"))
	assert.ErrorIs(t, err, fs.ErrNotExist)
	_, err = Read(folder)
	assert.ErrorContains(t, err, "is a directory")

	require.NoError(t, os.Truncate(path, maxSpec+1))
	_, err = Read(path)
	assert.EqualError(t, err, path+": larger than 1048576 bytes; this is no spec")
}

func TestCheckPaths(t *testing.T) {
	folder := t.TempDir()
	write := func(name string) {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(folder, name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), nil, 0o644))
	}
	write("minilm/config.json")
	write("minilm.safetensors")
	write("bare/vocab.txt")
	write("train.tsv")
	write("test.tsv")
	for name, c := range map[string]struct {
		overrides []string
		want      string
	}{
		"all there":    {nil, ""},
		"share":        {[]string{"data.test=0.5"}, ""},
		"no model":     {[]string{"model=FOLDER/minlm"}, `command line: model=FOLDER/minlm: there is no folder FOLDER/minlm; did you mean "minilm"?`},
		"file":         {[]string{"model=FOLDER/train.tsv"}, `command line: model=FOLDER/train.tsv: FOLDER/train.tsv is a file; expected a folder with config.json, the weights and the tokenizer`},
		"no config":    {[]string{"model=FOLDER/bare"}, `command line: model=FOLDER/bare: there is no file FOLDER/bare/config.json`},
		"same file":    {[]string{"data.test=FOLDER/./train.tsv"}, `command line: data.test=FOLDER/./train.tsv: is the training file`},
		"out":          {[]string{"out=FOLDER/bare"}, `command line: out=FOLDER/bare: FOLDER/bare exists; nothing is overwritten`},
		"everything":   {[]string{"data.train=FOLDER/trian.tsv", "data.test=FOLDER/bare", "weights=FOLDER/x.safetensors"}, "command line: data.train=FOLDER/trian.tsv: there is no file FOLDER/trian.tsv; did you mean \"train.tsv\"?\ncommand line: data.test=FOLDER/bare: FOLDER/bare is a folder; expected a file\ncommand line: weights=FOLDER/x.safetensors: there is no file FOLDER/x.safetensors"},
		"under a file": {[]string{"weights=FOLDER/train.tsv/x"}, "command line: weights=FOLDER/train.tsv/x: stat FOLDER/train.tsv/x: not a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(folder)
			text := strings.NewReplacer("../models/minilm", "minilm", "reviews.tsv", "train.tsv", "0.1", "test.tsv").Replace(reviews)
			for i := range c.overrides {
				c.overrides[i] = strings.ReplaceAll(c.overrides[i], "FOLDER/", "")
			}
			s, err := Parse("reviews.yaml", []byte(text), c.overrides...)
			require.NoError(t, err)
			err = s.checkPaths(func(string) (string, error) { return "", errors.New("no model is named so") })
			if c.want == "" {
				assert.NoError(t, err)
				return
			}
			require.Error(t, err)
			assert.Equal(t, strings.ReplaceAll(c.want, "FOLDER/", ""), strings.ReplaceAll(err.Error(), folder+"/", ""))
		})
	}
}
