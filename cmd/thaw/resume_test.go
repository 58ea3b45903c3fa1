package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// weights are the digests of what a run leaves that must be the same, however often it was interrupted.
func weights(t *testing.T, folder string) (out []string) {
	t.Helper()
	for _, name := range []string{"best", "last"} {
		content, err := os.ReadFile(filepath.Join(folder, "weights", name+".safetensors"))
		require.NoError(t, err)
		out = append(out, fmt.Sprintf("%x", sha256.Sum256(content)))
	}
	return out
}

func TestResume(t *testing.T) {
	workplace(t)
	ok(t, "", "train", "spec.yaml", "out=plain")
	ctx, stop := context.WithCancel(t.Context())
	out, errs := &watching{word: "epoch 1 ", stop: stop}, &bytes.Buffer{}
	assert.Equal(t, exitStopped, run(ctx, []string{"train", "spec.yaml", "out=run"}, streams{nil, out, errs, nil}))
	assert.DirExists(t, "run/checkpoints")
	got := invoke(t, "", "resume", "--verify", "run")
	assert.Equal(t, exitFailed, got.code)
	assert.Contains(t, got.err, "run/checkpoints has 1 checkpoints: two are compared")

	got = invoke(t, "", "train", "spec.yaml", "out=run")
	assert.Equal(t, exitUsage, got.code)
	assert.Contains(t, got.err, "exists; nothing is overwritten")
	got = invoke(t, "", "train", "--resume-if-there", "spec.yaml", "out=run", "seed=7")
	assert.Equal(t, exitUsage, got.code)
	assert.Regexp(t, `out=run: .*/run is of another spec: seed was \d+ and is 7; give another folder, or go on as the run began: thaw resume `, got.err)
	got = invoke(t, "", "resume", "run", "seed=7")
	assert.Equal(t, outcome{exitUsage, "", "thaw: resume: a run goes on as it began: only accept, checkpoint, stop_after, distributed may be set, not seed\n"}, got)
	assert.Equal(t, exitUsage, invoke(t, "", "resume", "nowhere").code)
	assert.Equal(t, exitUsage, invoke(t, "", "train", "--resume-if-there", "spec.yaml").code, "no folder is named")

	ok(t, "", "resume", "run", "checkpoint.every=1h", "accept=[small-test]")
	assert.Equal(t, weights(t, "plain"), weights(t, "run"))
	assert.NoDirExists(t, "run/checkpoints")
	got = invoke(t, "", "resume", "run")
	assert.Equal(t, outcome{exitUsage, "", "thaw: resume: run came to its end already\n"}, got)
	got = invoke(t, "", "train", "--resume-if-there", "spec.yaml", "out=run")
	assert.Equal(t, exitOK, got.code, "a job whose run is over is done")
	assert.Contains(t, got.err, "came to its end already")

	ctx, stop = context.WithCancel(t.Context())
	out, errs = &watching{word: "epoch 3 ", stop: stop}, &bytes.Buffer{}
	many := []string{"train", "spec.yaml", "out=many", "checkpoint={steps: 1, keep: 4}"}
	assert.Equal(t, exitStopped, run(ctx, many, streams{nil, out, errs, nil}))
	before := listing(t)
	assert.Regexp(t, `^from      .*/many/checkpoints/step-0000000\d.safetensors\nto        .*\nverified  every tensor is the same, bit for bit\n$`,
		ok(t, "", "resume", "--verify", "many"))
	assert.Equal(t, before, listing(t), "nothing is written")

	// A budget of time, and a finding that is accepted once the run was begun.
	stops := 0
	for ; stops < 200; stops++ {
		accepted := []string{"accept=[]", "accept=[small-test]", "accept=[small-test, imbalanced]"}[min(stops, 2)]
		if got = invoke(t, "", "train", "--resume-if-there", "spec.yaml", "out=budget", "stop_after=1ns", accepted); got.code == exitOK {
			break
		}
		require.Equal(t, exitStopped, got.code)
		require.Regexp(t, "^thaw: stopped: .*the time that the run was given", got.err)
	}
	assert.Positive(t, stops)
	assert.Equal(t, weights(t, "plain"), weights(t, "budget"))
}

// torments are the kinds of runs that TestTorture interrupts, by name: each goes to a folder and
// gives overrides of the spec there.
func torments(t *testing.T) map[string]func() (overrides []string) {
	texts := func(more ...string) func() []string {
		return func() []string {
			workplace(t)
			return append([]string{
				"checkpoint={steps: 1}", "phases=[{train: head, epochs: 1, lr: 1e-3}, {train: all, epochs: 3, lr: 1e-3}]", "batch.size=4",
			}, more...)
		}
	}
	return map[string]func() []string{
		"texts":        texts(),
		"average":      texts("ema=0.9", "phases[1].schedule=plateau", "phases[1].patience=0"),
		"accumulation": texts("batch={size: 2, accumulate: 3}"),
		"lora":         texts("lora={rank: 2, dropout: 0.1}", "phases=[{train: lora, epochs: 3, lr: 1e-3}]"),
		"float16":      texts("precision=float16", "phases=[{train: all, epochs: 2, lr: 1e-3}]", "early_stopping.patience=1"),
		"pictures": func() []string {
			album(t)
			return []string{
				"checkpoint={steps: 2}", "images={size: 32, augment: randaugment, mixup: 0.2, erase: 0.3}", "optimizer.name=sgd", "batch.size=6",
				"phases=[{train: [head, layer4.1.conv2.weight], epochs: 3, lr: 1e-2}]",
			}
		},
	}
}

// TestTorture kills processes that train, and has others go on: THAW_TORTURE is how often (make torture), a few times
// without.
func TestTorture(t *testing.T) {
	times := 12
	if s := os.Getenv("THAW_TORTURE"); s != "" {
		var err error
		times, err = strconv.Atoi(s)
		require.NoError(t, err)
	}
	kinds := torments(t)
	for i, kind := range slices.Sorted(maps.Keys(kinds)) {
		t.Run(kind, func(t *testing.T) {
			overrides := torments(t)[kind]()
			share := times / len(kinds)
			if i < times%len(kinds) {
				share++
			}
			torture(t, overrides, share)
		})
	}
}

// torture interrupts runs of spec.yaml so many times.
func torture(t *testing.T, overrides []string, times int) {
	self, err := os.Executable()
	require.NoError(t, err)
	start := func(folder string) (*exec.Cmd, *bytes.Buffer) {
		c := exec.Command(self, append([]string{"train", "--resume-if-there", "spec.yaml", "out=" + folder}, overrides...)...)
		c.Env = append(os.Environ(), "THAW_TEST_MAIN=1", "OMP_NUM_THREADS=1")
		var out bytes.Buffer
		c.Stdout, c.Stderr = &out, &out
		require.NoError(t, c.Start())
		return c, &out
	}
	began := time.Now()
	c, out := start("plain")
	require.NoError(t, c.Wait(), out)
	whole := time.Since(began)
	want := weights(t, "plain")
	rng := rand.New(rand.NewPCG(1, uint64(times)))
	killed, stopped := 0, 0
	for n := range times {
		folder := fmt.Sprint("run-", n)
		for attempt := range 3 { // interrupted twice, then left alone
			c, out := start(folder)
			signal := []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM}[n%2]
			at := time.Duration(0)
			if attempt < 2 {
				at = time.Duration(rng.Float64() * float64(whole))
				time.AfterFunc(at, func() { c.Process.Signal(signal) })
			}
			sent := time.Now().Add(at)
			c.Wait()
			switch status := c.ProcessState.Sys().(syscall.WaitStatus); {
			case status.Signaled():
				killed++ // by SIGTERM before main asks for it
			case status.ExitStatus() == exitStopped:
				stopped++
				require.Less(t, time.Since(sent), 10*time.Second)
			default:
				require.Zero(t, status.ExitStatus(), out)
			}
		}
		require.Equal(t, want, weights(t, folder), "run %d", n)
		require.NoError(t, filepath.WalkDir(folder, func(path string, _ os.DirEntry, err error) error {
			assert.False(t, strings.HasSuffix(path, ".tmp"), path)
			return err
		}))
		require.NoError(t, os.RemoveAll(folder))
	}
	t.Logf("%d runs: %d killed, %d stopped, all ended with the same weights as the undisturbed one (%v)", times, killed, stopped, whole)
}
