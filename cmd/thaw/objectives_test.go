package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/text"
)

// trainedOn trains on a table of its own, and edits the spec: old, new, ...
func trainedOn(t *testing.T, rows string, edits ...string) {
	t.Helper()
	workplace(t)
	write(t, "rows.tsv", rows)
	write(t, "spec.yaml", strings.NewReplacer(edits...).Replace(sampleSpec))
	ok(t, "", "train", "spec.yaml", "out=run", "batch.size=8", "phases[0].epochs=20")
}

// From a spec of pairs to predictions of pairs.
func TestPairs(t *testing.T) {
	var rows strings.Builder
	rows.WriteString("a\tb\tl\n")
	for i := range 60 {
		fmt.Fprintf(&rows, "the film %d\twas %s\t%s\n", i, []string{"dull", "great"}[i%2], []string{"bad", "good"}[i%2])
	}
	trainedOn(t, rows.String(), "text: t", "text: a, pair: b")
	assert.Contains(t, ok(t, "", "eval", "run"), "accuracy         1.0000\n")

	want := `^good  [01]\.\d{3}  the film was great\nbad   [01]\.\d{3}  it was dull\n$`
	assert.Regexp(t, want, ok(t, "the film\twas great\nit\twas dull\n", "predict", "run"))
	assert.Regexp(t, want, ok(t, "", "predict", "run", "the film\twas great", "it\twas dull"))
	objects := `{"text": "the film", "pair": "was great"}` + "\n" + `{"text": "it", "pair": "was dull"}` + "\n"
	assert.Regexp(t, want, ok(t, objects, "predict", "run", "--jsonl"))
	var fields map[string]any
	require.NoError(t, json.Unmarshal([]byte(ok(t, "", "predict", "run", "--json", "the film\twas great")), &fields))
	assert.Equal(t, []any{"the film", "was great", "good"}, []any{fields["input"], fields["pair"], fields["label"]})

	for _, c := range []struct {
		args     []string
		in, want string
	}{
		{nil, "the film\twas great\nthe film was great\n", "predict: line 2: this model takes two texts with a tab between them, found one"},
		{[]string{"the film was great"}, "", "predict: argument 1: this model takes two texts with a tab between them, found one"},
		{[]string{"--jsonl"}, objects + `{"text": "the film"}`, `predict: line 3: there is no key pair, and this model takes two texts: expected {"text": "...", "pair": "..."}`},
	} {
		got := invoke(t, c.in, append([]string{"predict", "run"}, c.args...)...)
		assert.Equal(t, exitFailed, got.code)
		assert.Equal(t, "thaw: "+c.want+"\n", got.err)
		assert.Equal(t, max(0, strings.Count(c.in, "\n")-1+strings.Count(strings.Join(c.args, ""), "--jsonl")), strings.Count(got.out, "\n"), "those before it are printed")
	}
}

func TestRegression(t *testing.T) {
	var rows strings.Builder
	rows.WriteString("t\tl\n")
	for i := range 60 {
		fmt.Fprintf(&rows, "the film %d was %s\t%s\n", i, []string{"dull", "great"}[i%2], []string{"-1", "2.5"}[i%2])
	}
	trainedOn(t, rows.String(), "classes: [bad, good]", "objective: regression", "model: model", "model: model\nbest: pearson")
	assert.Regexp(t, `^rows             12\nmse              \d\.\d{4}\nmae              \d\.\d{4}\npearson          [01]\.\d{4}\nspearman         [01]\.\d{4}\nloss             \d\.\d{4}\n$`,
		ok(t, "", "eval", "run"))
	var score map[string]float64
	require.NoError(t, json.Unmarshal([]byte(ok(t, "", "eval", "run", "--json")), &score))
	assert.Greater(t, score["pearson"], 0.9)
	assert.Regexp(t, `^[12]\.\d{4}  the film was great\n(-[01]|0)\.\d{4}  the film was dull\n$`, ok(t, "", "predict", "run", "the film was great", "the film was dull"))
	var found struct{ Value *float64 }
	require.NoError(t, json.Unmarshal([]byte(ok(t, "", "predict", "run", "--json", "the film was great")), &found))
	assert.InDelta(t, 2.5, *found.Value, 1)

	got := invoke(t, "", "train", "spec.yaml", "out=other", "best=accuracy")
	assert.Equal(t, exitUsage, got.code)
	assert.Equal(t, "command line: best=accuracy: the best epoch is to be chosen by \"accuracy\", and the objective measures loss, mse, mae, pearson, spearman\n", got.err)
	assert.NoDirExists(t, "other")
}

func TestSeveralLabels(t *testing.T) {
	var rows strings.Builder
	rows.WriteString("t\tl\n")
	for i := range 60 {
		fmt.Fprintf(&rows, "film %d is %s\t%s\n", i, []string{"great fun", "dull", "great and dull"}[i%3], []string{"good", "", "good, bad"}[i%3])
	}
	trainedOn(t, rows.String(), "classes: [bad, good]", "objective: multi-label, classes: [bad, good]")
	assert.Regexp(t, `^rows             12\nmicro_f1         [01]\.\d{4}\nmacro_f1         [01]\.\d{4}\nsubset_accuracy  [01]\.\d{4}\nloss             \d\.\d{4}\n`, ok(t, "", "eval", "run"))
	assert.Equal(t, "good  film 1 is great fun\n-  film 2 is dull\nbad,good  film 3 is great and dull\n",
		ok(t, "", "predict", "run", "film 1 is great fun", "film 2 is dull", "film 3 is great and dull"))
	var found struct{ Labels []string }
	require.NoError(t, json.Unmarshal([]byte(ok(t, "", "predict", "run", "--json", "film 3 is great and dull")), &found))
	assert.Equal(t, []string{"bad", "good"}, found.Labels)
}

// A Go program's run is the program's too.
func TestRunOfAGoProgram(t *testing.T) {
	workplace(t)
	var items []text.Item
	for i := range 60 {
		items = append(items, text.Item{Text: fmt.Sprintf("the film %d was %s", i, []string{"dull", "great"}[i%2]), Class: i % 2})
	}
	c, err := text.Load("model", text.NewHead("bad", "good"))
	require.NoError(t, err)
	defer c.Close()
	set, err := c.NewDataset(items, text.DatasetOptions{MaxLength: 16})
	require.NoError(t, err)
	_, err = finetune.Fit(t.Context(), c, set, nil, finetune.Options{
		Phases: []finetune.Phase{{Train: finetune.All(), Epochs: 4, LR: 5e-3, HeadLR: 5e-3}}, Batch: finetune.Batching{Size: 8},
		Device: "cpu", Folder: finetune.NewFolder("made"),
	})
	require.NoError(t, err)
	assert.NoFileExists(t, "made/spec.yaml")

	assert.Regexp(t, `^good  [01]\.\d{3}  the film was great\nbad   [01]\.\d{3}  the film was dull\n$`, ok(t, "", "predict", "made", "the film was great", "the film was dull"))
	assert.Contains(t, ok(t, "", "eval", "made", "--data=rows.tsv", "--columns=text=t,label=l"), "rows             60\naccuracy         1.0000\n")
	assert.Equal(t, outcome{exitUsage, "", "thaw: eval: made has no spec.yaml, so its test data is not known: name some with --data\n"}, invoke(t, "", "eval", "made"))
	assert.Equal(t, "out\n", ok(t, "", "export", "made", "out"))
	assert.Equal(t, ok(t, "", "predict", "made", "--json", "the film"), ok(t, "", "predict", "--model=out", "--json", "the film"))
	entries, err := os.ReadDir("out")
	require.NoError(t, err)
	assert.Len(t, entries, 7, "README.md, config.json, model.safetensors, and four files of the tokenizer")
}
