package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/recipe"
)

func content(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(data)
}

// Each run of a sweep is the run that thaw train makes, bit for bit, although the frozen layers run once for all.
func TestSweep(t *testing.T) {
	folder := workplace(t)
	write(t, "spec.yaml", strings.Replace(sampleSpec, "train: all, epochs: 4", "train: top 1, epochs: 2", 1))
	got := ok(t, "", "sweep", "spec.yaml", "lr=1e-3,5e-3", "seed=0..1", "batch.size=16")
	assert.Regexp(t, `^sweep     4 runs · 4 to train
1/4       lr=1e-3,seed=0
          epoch 1  train loss \d\.\d{4}  accuracy \d\.\d{4}  macro_f1 \d\.\d{4}
          epoch 2 .*
2/4       lr=5e-3,seed=0
`, got)
	assert.Regexp(t, `
 +lr    accuracy  deviation  runs  time a run
(best|    )  1e-3  \d\.\d{4}    \d\.\d{4}     2     \S+
(best|    )  5e-3  \d\.\d{4}    \d\.\d{4}     2     \S+

folder    `+regexp.QuoteMeta(folder)+`/runs/spec-sweep-1
$`, got)
	assert.Equal(t, 1, strings.Count(got, "best  "))
	for _, c := range [][2]string{{"1e-3", "0"}, {"5e-3", "1"}} {
		name := "lr=" + c[0] + ",seed=" + c[1]
		ok(t, "", "train", "spec.yaml", "phases[0].lr="+c[0], "phases[0].head_lr="+c[0], "seed="+c[1], "batch.size=16", "out=single-"+c[1])
		for _, file := range []string{"weights/best.safetensors", "weights/last.safetensors"} {
			assert.Equal(t, content(t, "single-"+c[1]+"/"+file), content(t, "runs/spec-sweep-1/"+name+"/"+file), name)
		}
		assert.Equal(t, metrics(t, "single-"+c[1]), metrics(t, "runs/spec-sweep-1/"+name))
	}

	// With more seeds in the same folder the runs that are there are taken as they are.
	before := content(t, "runs/spec-sweep-1/lr=1e-3,seed=0/summary.json")
	more := ok(t, "", "sweep", "spec.yaml", "lr=1e-3,5e-3", "seed=0..2", "batch.size=16", "--out=runs/spec-sweep-1", "--json")
	var sweep recipe.Sweep
	require.NoError(t, json.Unmarshal([]byte(more), &sweep), "one object and nothing else")
	assert.Len(t, sweep.Runs, 6)
	require.Len(t, sweep.Groups, 2)
	assert.Equal(t, 3, sweep.Groups[0].Runs)
	assert.Equal(t, before, content(t, "runs/spec-sweep-1/lr=1e-3,seed=0/summary.json"))
	again := ok(t, "", "sweep", "spec.yaml", "lr=1e-3,5e-3", "seed=0..2", "batch.size=16", "--out=runs/spec-sweep-1")
	assert.Contains(t, again, "sweep     6 runs · 0 to train\n")
	// The same command with nothing left to do begins anew.
	ok(t, "", "sweep", "spec.yaml", "seed=4", "phases[0].epochs=1")
	assert.DirExists(t, "runs/spec-sweep-2/run")

	// A folder of runs of another spec is not gone on with.
	differs := invoke(t, "", "sweep", "spec.yaml", "lr=1e-3,5e-3", "seed=0..2", "batch.size=8", "--out=runs/spec-sweep-1")
	assert.Equal(t, exitUsage, differs.code)
	assert.Contains(t, differs.err, "batch.size was 16 and is 8")
}

// A sweep that was stopped in a run goes on from that run's checkpoint.
func TestSweepGoesOn(t *testing.T) {
	workplace(t)
	ok(t, "", "sweep", "spec.yaml", "seed=0..1", "--out=whole")
	stopped := invoke(t, "", "sweep", "spec.yaml", "seed=0..1", "stop_after=1ms", "--out=parts")
	assert.Equal(t, exitStopped, stopped.code)
	assert.Contains(t, stopped.out, ": the same command goes on\n")
	assert.FileExists(t, "parts/seed=0/checkpoints/latest")
	assert.NoDirExists(t, "parts/seed=1")
	got := ok(t, "", "sweep", "spec.yaml", "seed=0..1", "--out=parts")
	assert.Contains(t, got, "1/2       seed=0  goes on\n")
	for _, name := range []string{"seed=0", "seed=1"} {
		assert.Equal(t, metrics(t, "whole/"+name), metrics(t, "parts/"+name))
		assert.Equal(t, content(t, "whole/"+name+"/weights/last.safetensors"), content(t, "parts/"+name+"/weights/last.safetensors"))
	}
}

// A run that fails does not end the others.
func TestSweepWithARunThatFails(t *testing.T) {
	workplace(t)
	got := invoke(t, "", "sweep", "spec.yaml", "lr=1e38,5e-3", "optimizer={name: sgd}", "clip_norm=0", "--out=sweep")
	assert.Equal(t, exitFailed, got.code)
	assert.Contains(t, got.err, "sweep: 1 run of 2 failed; the same command tries them again")
	assert.Contains(t, got.out, "failed: ")
	assert.Regexp(t, `1e38 +- +- +0, 1 failed`, got.out)
	var sweep recipe.Sweep
	require.NoError(t, json.Unmarshal([]byte(content(t, "sweep/sweep.json")), &sweep))
	assert.Equal(t, []string{recipe.Failed, recipe.Finished}, []string{sweep.Runs[0].State, sweep.Runs[1].State})
}

func TestWrongSweeps(t *testing.T) {
	folder := workplace(t)
	require.NoError(t, os.Mkdir("other", 0o755))
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"spec.yaml"}, "thaw: expected \"<key=values> ...\" (thaw sweep --help tells what there is)\n"},
		{[]string{"none.yaml", "seed=1,2"}, "thaw: sweep: there is no file none.yaml\n"},
		{[]string{"spec.yaml", "seed=4..1"}, "thaw: sweep: seed=4..1: 4..1 counts up from the first number to the last, at most 1000 of them\n"},
		{[]string{"spec.yaml", "out=a"}, "thaw: sweep: out=a: each run has a folder of its own: name the sweep's with --out\n"},
		{[]string{"spec.yaml", "lr=1e-3,-1"}, "thaw: sweep: lr=-1 is no learning rate, a number above 0\n"},
		{[]string{"spec.yaml", "seedd=1,2"}, "command line: seedd=1: unknown key; did you mean \"seed\"?\n"},
		{[]string{"spec.yaml", "seed=1,2", "--out=other"}, "thaw: sweep: FOLDER/other exists and is no sweep's folder: nothing is overwritten\n"},
	} {
		got := invoke(t, "", append([]string{"sweep"}, c.args...)...)
		got.err = strings.ReplaceAll(got.err, folder, "FOLDER")
		assert.Equal(t, outcome{exitUsage, "", c.want}, got, "%q", c.args)
	}
	// Data that is refused ends the sweep at its first run.
	write(t, "test.tsv", "t\tl\nthe film 0 was dull\tbad\nthe film 1 was great\tgood\nthe film 2 was dull\tbad\n")
	got := invoke(t, "", "sweep", "spec.yaml", "seed=0..1", "data.test=test.tsv", "--out=refused")
	assert.Equal(t, exitFailed, got.code)
	assert.Contains(t, got.err, "the data is not fit to train on")
	folders, err := filepath.Glob("refused/seed*")
	require.NoError(t, err)
	assert.Empty(t, folders)
}

func TestLrFind(t *testing.T) {
	workplace(t)
	got := ok(t, "", "lr-find", "spec.yaml", "--steps=40")
	assert.Regexp(t, `\ncurve     \d+ steps, lr 1e-07 to \S+ · lowest smoothed loss \d\.\d{4} at \S+\nvalley    \S+; in the spec: phases\[0\]\.lr: \S+\nfolder    \S+runs/spec-lr-1\n$`,
		strings.ReplaceAll(got, ", where the loss went up for good", ""))
	assert.FileExists(t, "runs/spec-lr-1/lr-find.png")
	csv := content(t, "runs/spec-lr-1/lr-find.csv")
	assert.True(t, strings.HasPrefix(csv, "step,lr,loss,smooth\n1,1e-07,"), csv)
	files, err := filepath.Glob("runs/spec-lr-1/*")
	require.NoError(t, err)
	assert.Len(t, files, 2, "no weights")
	var curve struct {
		Rates, Losses, Smooth []float64
		Valley                float64
		Folder                string
	}
	require.NoError(t, json.Unmarshal([]byte(ok(t, "", "lr-find", "spec.yaml", "--steps=40", "--json", "--out=curve")), &curve))
	assert.NotEmpty(t, curve.Rates)
	assert.Len(t, curve.Smooth, len(curve.Rates))
	for args, want := range map[string]string{
		"--phase=1":         "thaw: lr-find: --phase 1: the spec has phases[0] to phases[0]\n",
		"--from=1 --to=0.1": "thaw: lr-find: --from 1 --to 0.1 --steps 100: the rate rises from above 0, in 20 steps or more\n",
		"--steps=3":         "thaw: lr-find: --from 1e-07 --to 10 --steps 3: the rate rises from above 0, in 20 steps or more\n",
	} {
		assert.Equal(t, outcome{exitUsage, "", want}, invoke(t, "", append([]string{"lr-find", "spec.yaml"}, strings.Fields(args)...)...), args)
	}
	assert.Equal(t, exitUsage, invoke(t, "", "lr-find", "spec.yaml", "--out=curve").code, "nothing is overwritten")
}

func TestPlan(t *testing.T) {
	trained(t)
	before := listing(t)
	got := ok(t, "", "plan", "spec.yaml")
	for _, want := range []string{
		"^model     BERT", "\nplan      embeddings ... layer.1   trained ", "\n          about \\S+: frozen stages 0s · training \\S+ \\(\\S+ a step\\) · evaluation \\S+\n",
		"\npredicted frozen stages 0s · training \\S+ · evaluation \\S+ · in all \\S+ · peak memory \\d\\.\\d\\d GB\n", "\nfrom      \\d+ steps? and as many",
	} {
		assert.Regexp(t, want, got)
	}
	assert.NotContains(t, got, "measured")
	got = ok(t, "", "plan", "run")
	assert.Regexp(t, "\nmeasured  frozen stages 0s · training \\S+ · .*\n          the prediction is \\d+\\.\\d\\d of the measured time and \\d\\.\\d\\d of the memory\n", got)
	assert.Equal(t, before, listing(t), "nothing is written")
	var forecast struct {
		Phases   []struct{ Train float64 }
		Seconds  float64
		Measured *struct{ Seconds struct{ Train float64 } }
	}
	require.NoError(t, json.Unmarshal([]byte(ok(t, "", "plan", "run", "--json")), &forecast))
	assert.Len(t, forecast.Phases, 1)
	assert.Positive(t, forecast.Seconds)
	assert.Positive(t, forecast.Measured.Seconds.Train)
	assert.Equal(t, outcome{exitUsage, "", "thaw: plan: model is no run folder whose run has ended: give a spec, or such a folder\n"}, invoke(t, "", "plan", "model"))
}
