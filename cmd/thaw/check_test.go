package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/preflight"
)

func TestCheck(t *testing.T) {
	folder := workplace(t)
	before := listing(t)
	got := ok(t, "", "check", "spec.yaml")
	got = strings.Replace(got, got[strings.LastIndex(got, " · ")+len(" · "):], "#s\n", 1)
	assert.Equal(t, `data      48 train · 12 test
classes   bad         24 train  50.0 %         6 test
          good        24 train  50.0 %         6 test
baseline  always guessing "bad" scores accuracy 0.5000, macro_f1 0.3333
tokens    median 7 · 95 % have at most 7 · longest 7 · cut at 16: 0 texts

warning   small-test: 12 samples to test on: the 95 % interval of an accuracy of 0.5 is 49.2 points wide, of 0.9 35.3 points; below 5 points from 1,533 on

result    0 fatal findings · 1 warning · #s
`, got)
	assert.Equal(t, before, listing(t), "nothing is written")

	// A test file that is a part of the training file.
	write(t, "test.tsv", "t\tl\nthe film 0 was dull\tbad\nthe film 1 was great\tgood\nthe film 2 was dull\tgood\nof another kind\tbad\n")
	failed := invoke(t, "", "check", "spec.yaml", "data.test=test.tsv")
	assert.Equal(t, exitFailed, failed.code)
	assert.Equal(t, "thaw: check: 1 fatal finding: thaw train would refuse this data\n", failed.err)
	assert.Contains(t, failed.out, `
fatal     duplicates: 3 test texts (75.0 %) are in the training data too: a score on them tells nothing of new texts; remove them from either
            test.tsv:2 = rows.tsv:2
            test.tsv:3 = rows.tsv:3
            test.tsv:4 = rows.tsv:4  labelled "good", and "bad" in training
`)
	refused := invoke(t, "", "train", "spec.yaml", "data.test=test.tsv")
	assert.Equal(t, exitFailed, refused.code)
	assert.Equal(t, "thaw: the data is not fit to train on: 3 test texts (75.0 %) are in the training data too: a score on them tells nothing of new texts; remove them from either\n"+
		"  FOLDER/test.tsv:2 = FOLDER/rows.tsv:2\n  FOLDER/test.tsv:3 = FOLDER/rows.tsv:3\n  FOLDER/test.tsv:4 = FOLDER/rows.tsv:4  labelled \"good\", and \"bad\" in training\n"+
		"  to train all the same: accept: [duplicates] in the spec\n", strings.ReplaceAll(refused.err, folder, "FOLDER"))
	assert.NoDirExists(t, "runs")

	accepted := ok(t, "", "check", "spec.yaml", "data.test=test.tsv", "accept=[duplicates]")
	assert.Contains(t, accepted, "\naccepted  duplicates: 3 test texts")
	assert.Contains(t, accepted, "result    0 fatal findings · 2 warnings · 1 accepted · ")
	trained := ok(t, "", "train", "spec.yaml", "data.test=test.tsv", "accept=[duplicates]", "phases[0].epochs=1")
	assert.Contains(t, trained, "\naccepted  duplicates: 3 test texts (75.0 %) are in the training data too")
}

func TestCheckJSON(t *testing.T) {
	workplace(t)
	write(t, "test.tsv", "t\tl\nthe film 0 was dull\tbad\nthe film 1 was great\tgood\nthe film 2 was dull\tbad\n")
	got := invoke(t, "", "check", "spec.yaml", "data.test=test.tsv", "--json")
	assert.Equal(t, exitFailed, got.code)
	var report struct {
		Spec string
		preflight.Report
		Seconds float64
	}
	require.NoError(t, json.Unmarshal([]byte(got.out), &report))
	assert.Equal(t, "spec.yaml", report.Spec)
	assert.Equal(t, 60, report.Train)
	assert.Equal(t, preflight.Finding{Name: "duplicates", Grade: "fatal", Count: 3, Of: 3, Text: report.Findings[0].Text, First: report.Findings[0].First}, report.Findings[0])
	assert.Len(t, report.Findings[0].First, 3)
	assert.Equal(t, 7, report.Tokens.Longest)
}

func TestWrongChecks(t *testing.T) {
	workplace(t)
	for args, want := range map[string]string{
		"check":                   "thaw: expected \"<spec>\" (thaw check --help tells what there is)\n",
		"check none.yaml":         "thaw: check: there is no file none.yaml\n",
		"check model":             "thaw: check: model is a folder; expected a spec, a YAML file\n",
		"check spec.yaml seedd=1": "command line: seedd=1: unknown key; did you mean \"seed\"?\n",
	} {
		assert.Equal(t, outcome{exitUsage, "", want}, invoke(t, "", strings.Fields(args)...), args)
	}
	got := invoke(t, "", "check", "spec.yaml", "data.train=none.tsv")
	assert.Equal(t, exitUsage, got.code)
	got = invoke(t, "", "check", "spec.yaml", "data.columns.text=txt")
	assert.Equal(t, exitFailed, got.code)
	assert.Contains(t, got.out, "\nfatal     columns: a file has not the columns that data.columns names\n            rows.tsv:1: there is no column \"txt\"")
}
