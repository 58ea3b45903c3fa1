package main

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/recipe"
)

// echo is a model that answers with what it was given.
type echo struct {
	recipe.Model
	pairs bool
	given []recipe.Input
}

func (e *echo) Pairs() bool      { return e.pairs }
func (e *echo) Labels() []string { return []string{"yes"} }
func (e *echo) Predict(_ context.Context, inputs []recipe.Input, _ finetune.PredictOptions) (out []recipe.Prediction, _ error) {
	e.given = append(e.given, inputs...)
	for _, in := range inputs {
		out = append(out, recipe.Prediction{Input: in.Text, Pair: in.Pair, Label: "yes", Score: 1})
	}
	return out, nil
}

func TestInputs(t *testing.T) {
	for name, c := range map[string]struct {
		pairs, jsonl bool
		lines        []string
		want         []recipe.Input
		err          string
	}{
		"texts":            {lines: []string{"a", "b\tc"}, want: []recipe.Input{{Text: "a"}, {Text: "b\tc"}}},
		"pairs":            {pairs: true, lines: []string{"a\tb", "c\t", "\t"}, want: []recipe.Input{{Text: "a", Pair: "b"}, {Text: "c"}, {}}},
		"one for two":      {pairs: true, lines: []string{"a\tb", "c"}, want: []recipe.Input{{Text: "a", Pair: "b"}}, err: "predict: line 9: this model takes two texts with a tab between them, found one"},
		"three for two":    {pairs: true, lines: []string{"a\tb\tc"}, err: "predict: line 8: this model takes two texts with a tab between them, found 3: texts with tabs go in with --jsonl"},
		"objects":          {jsonl: true, lines: []string{`{"text": "a\tb"}`, `{"text": "", "label": 3}`}, want: []recipe.Input{{Text: "a\tb"}, {}}},
		"objects of pairs": {pairs: true, jsonl: true, lines: []string{`{"text": "a\tb", "pair": "c"}`}, want: []recipe.Input{{Text: "a\tb", Pair: "c"}}},
		"no object":        {jsonl: true, lines: []string{"a"}, err: `predict: line 8: --jsonl expects a JSON object such as {"text": "..."}: invalid character 'a' looking for beginning of value`},
		"no text":          {jsonl: true, lines: []string{`{"pair": "b"}`}, err: `predict: line 8: there is no key text; expected {"text": "..."}`},
		"no pair":          {pairs: true, jsonl: true, lines: []string{`{"text": "b"}`}, err: `predict: line 8: there is no key pair, and this model takes two texts: expected {"text": "...", "pair": "..."}`},
		"pair too many":    {jsonl: true, lines: []string{`{"text": "b", "pair": "c"}`}, err: `predict: line 8: there is a key pair, and this model takes one input: expected {"text": "..."}`},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			model := &echo{pairs: c.pairs}
			p := predicting{model: model, cmd: &predictCmd{JSONL: c.jsonl}, out: streams{out: &out}, done: 7}
			err := p.print(t.Context(), c.lines, "line")
			if c.err == "" {
				assert.NoError(t, err)
			} else {
				assert.EqualError(t, err, c.err)
			}
			assert.Equal(t, c.want, model.given)
			assert.Equal(t, len(c.want), strings.Count(out.String(), "\n"), "those before the one at fault are printed")
		})
	}
}

// A file is predicted in the order of its lines, whatever their lengths, many at a time.
func TestPredictManyLines(t *testing.T) {
	trained(t)
	var lines []string
	for i := range 1500 {
		lines = append(lines, "the film was great"+strings.Repeat(" good", i%9))
	}
	got := strings.Split(strings.TrimSuffix(ok(t, strings.Join(lines, "\n")+"\n", "predict", "run"), "\n"), "\n")
	require.Len(t, got, len(lines))
	for i, line := range got {
		assert.True(t, strings.HasSuffix(line, "  "+lines[i]), line)
	}
	var objects strings.Builder
	for _, line := range lines[:20] {
		objects.WriteString(`{"text": "` + line + "\"}\n")
	}
	assert.Equal(t, strings.Join(got[:20], "\n")+"\n", ok(t, objects.String(), "predict", "run", "--jsonl"))
}

// A run that a Go program made has no spec.
func TestRunWithoutASpec(t *testing.T) {
	trained(t)
	want := ok(t, "", "eval", "run", "--data=rows.tsv")
	predicted := ok(t, "", "predict", "run", "the film was great")
	require.NoError(t, os.Remove("run/spec.yaml"))
	assert.Equal(t, want, ok(t, "", "eval", "run", "--data=rows.tsv", "--columns=text=t,label=l"))
	assert.Equal(t, predicted, ok(t, "", "predict", "run", "the film was great"))
	for _, c := range []struct{ args, want string }{
		{"eval run", "eval: run has no spec.yaml, so its test data is not known: name some with --data"},
		{"eval run --data rows.tsv", "eval: run has no spec.yaml, so the columns of FOLDER/rows.tsv are not known: name them, as in --columns text=NAME,label=NAME"},
		{"eval run --columns text=t", "eval: --columns goes with --data"},
		{"eval run --data rows.tsv --columns txt=t", `eval: --columns: "txt" is none of text, pair, image and label`},
		{"eval run --data rows.tsv --columns text=", "eval: --columns: text is given no column"},
		{"eval run --batch 0", "eval: --batch 0: give 1 or more"},
	} {
		got := invoke(t, "", strings.Fields(c.args)...)
		folder, err := os.Getwd()
		require.NoError(t, err)
		got.err = strings.ReplaceAll(got.err, folder, "FOLDER")
		assert.Equal(t, outcome{exitUsage, "", "thaw: " + c.want + "\n"}, got, c.args)
	}
}
