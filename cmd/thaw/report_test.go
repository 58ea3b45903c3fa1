package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/report"
	"github.com/thaw-ml/thaw/report/tensorboard"
)

// A run leaves its report, also where it was stopped, and thaw report makes it anew from the records.
func TestReport(t *testing.T) {
	workplace(t)
	out := ok(t, "", "train", "spec.yaml", "out=run")
	assert.Regexp(t, `\nreport    .*/run/report.html\n$`, out)
	page, err := os.ReadFile("run/report.html")
	require.NoError(t, err)
	assert.Contains(t, string(page), "model · trained all for 4 epochs · to tell bad, good")
	assert.Contains(t, string(page), "rows.tsv")
	for _, name := range []string{"report.html", "curves.png", "confusion.png"} {
		require.NoError(t, os.Remove(filepath.Join("run", name)))
	}
	assert.Equal(t, "run/report.html\n", ok(t, "", "report", "run"))
	again, err := os.ReadFile("run/report.html")
	require.NoError(t, err)
	assert.Equal(t, string(page), string(again), "the same records make the same page")
	assert.FileExists(t, "run/curves.png")
	assert.FileExists(t, "run/confusion.png")

	ctx, stop := context.WithCancel(t.Context())
	watched, errs := &watching{word: "epoch 2 ", stop: stop}, &bytes.Buffer{}
	assert.Equal(t, exitStopped, run(ctx, []string{"train", "spec.yaml", "out=stopped"}, streams{nil, watched, errs, nil}))
	page, err = os.ReadFile("stopped/report.html")
	require.NoError(t, err)
	assert.Contains(t, string(page), "thaw resume goes on from its newest checkpoint")
	ok(t, "", "resume", "stopped")
	page, err = os.ReadFile("stopped/report.html")
	require.NoError(t, err)
	assert.NotContains(t, string(page), "thaw resume goes on from its newest checkpoint")
	whole, err := report.Read("run")
	require.NoError(t, err)
	assert.Regexp(t, "^48 texts, "+whole.Machine.Train.Hash+", tokens [0-9a-f]{16}$", whole.Result.TrainData, "one hash of the data in both files")
	assert.Regexp(t, "^12 texts, "+whole.Machine.Test.Hash+", tokens [0-9a-f]{16}$", whole.Result.TestData)
	resumed, err := report.Read("stopped")
	require.NoError(t, err)
	require.Len(t, resumed.Steps, len(whole.Steps))
	for i, s := range whole.Steps {
		assert.Equal(t, []any{s.Step, s.Epoch, s.Loss, s.LR}, []any{resumed.Steps[i].Step, resumed.Steps[i].Epoch, resumed.Steps[i].Loss, resumed.Steps[i].LR})
	}
	files, err := tensorboard.Files("stopped")
	require.NoError(t, err)
	assert.Len(t, files, 2)

	require.NoError(t, os.Mkdir("empty", 0o755))
	for folder, reason := range map[string]string{"nowhere": "it is not there", "spec.yaml": "it is no folder", "empty": "nothing was trained there, or not yet"} {
		assert.Equal(t, outcome{exitUsage, "", "thaw: report: \"" + folder + "\" is no run folder: " + reason + "\n"}, invoke(t, "", "report", folder))
	}
}

func TestCompareCommand(t *testing.T) {
	workplace(t)
	ok(t, "", "train", "spec.yaml", "out=a")
	ok(t, "", "train", "spec.yaml", "out=b", "phases[0].epochs=1", "checkpoint.every=1h")
	ok(t, "", "train", "spec.yaml", "out=c", "data.test=every 4")
	table := ok(t, "", "compare", "a", "b")
	assert.Regexp(t, `(?m)^phases\[0\].epochs +4 +1$`, table)
	assert.NotContains(t, table, "checkpoint")
	assert.NotContains(t, table, "warning")
	assert.Contains(t, ok(t, "", "compare", "a", "b", "c"), "warning   the test data of c is not that of a")
	var read report.Comparison
	require.NoError(t, json.Unmarshal([]byte(ok(t, "", "compare", "a", "c", "--json")), &read))
	assert.Equal(t, []report.Difference{{Key: "data.test", Values: []string{"every 5", "every 4"}}}, read.Keys)
	assert.Len(t, read.Runs, 2)

	assert.Equal(t, outcome{exitUsage, "", "thaw: compare: name two run folders or more\n"}, invoke(t, "", "compare", "a"))
	assert.Equal(t, exitUsage, invoke(t, "", "compare", "a", "nowhere").code)
}
