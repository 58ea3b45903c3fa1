package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// records reads a log of JSON objects.
func records(t *testing.T, log string) (out []map[string]any) {
	t.Helper()
	require.True(t, strings.HasSuffix(log, "\n"))
	for line := range strings.Lines(log) {
		var r map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &r), line)
		at, err := time.Parse(time.RFC3339Nano, r["time"].(string))
		require.NoError(t, err)
		assert.WithinDuration(t, time.Now(), at, time.Hour)
		out = append(out, r)
	}
	return out
}

func TestLogOfJSON(t *testing.T) {
	folder := workplace(t)
	log := records(t, ok(t, "", "train", "--log=json", "spec.yaml", "out=run"))
	var names []string
	for _, r := range log {
		names = append(names, r["msg"].(string))
	}
	assert.Equal(t, "start", names[0])
	for _, name := range []string{"plan", "task", "done", "saved", "check", "finished"} {
		assert.Contains(t, names, name)
	}
	last := log[len(log)-1]
	assert.Equal(t, "finished", last["msg"])
	assert.Equal(t, folder+"/run", last["folder"])
	assert.Contains(t, last, "accuracy")
	epoch := log[slices.IndexFunc(log, func(r map[string]any) bool { return r["task"] == "epoch 1" && r["msg"] == "done" })]
	assert.Equal(t, 1.0, epoch["epoch"])
	assert.Positive(t, epoch["train_loss"])
	assert.Contains(t, epoch, "accuracy")
	assert.Equal(t, "INFO", epoch["level"])

	// The error is a record, and is on the standard error for people.
	got := thawIn(t.Context(), strings.NewReader(""), "train", "--log=json", "spec.yaml", "out=failed",
		"phases=[{train: head, epochs: 1, lr: 1e-3}, {train: all, epochs: 3, lr: 1e30, schedule: constant}]")
	assert.Equal(t, exitFailed, got.code)
	log = records(t, got.out)
	last = log[len(log)-1]
	assert.Equal(t, "failed", last["msg"])
	assert.Equal(t, "ERROR", last["level"])
	assert.Contains(t, last["error"], "the loss is not a finite number")
	assert.Equal(t, 1.0, last["epochs"])
	assert.Contains(t, got.err, "the loss is not a finite number")

	assert.Equal(t, exitUsage, invoke(t, "", "train", "--log=xml", "spec.yaml").code)
}

// A process that is one of several, and cannot find the others, does not train the same run by itself.
func TestOneOfSeveral(t *testing.T) {
	workplace(t)
	before := listing(t)
	t.Setenv("WORLD_SIZE", "2")
	t.Setenv("RANK", "1")
	got := invoke(t, "", "train", "spec.yaml", "out=run")
	assert.Equal(t, exitUsage, got.code)
	assert.Regexp(t, `^thaw: train: RANK and its like lack MASTER_ADDR and MASTER_PORT: `, got.err)
	assert.Equal(t, before, listing(t))
}
