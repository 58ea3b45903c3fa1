//go:build docker

package docker_test

import (
	"encoding/csv"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	exitUsage   = 2  // a wrong command line or spec
	exitStopped = 75 // stopped by a signal, in order
)

// reviews is a folder with the demo's spec, its data, as many rows of them as asked for, and its model; and one for
// the runs.
func reviews(t *testing.T, rows int) (mounts []string, runs string) {
	t.Helper()
	command(t, "../third_party/fetch.sh", "--set", "reviews")
	command(t, "../examples/reviews/prepare.sh")
	data, runs := t.TempDir(), t.TempDir()
	for _, dir := range []string{filepath.Dir(data), data, filepath.Dir(runs), runs} {
		require.NoError(t, os.Chmod(dir, 0o755)) // another user reads it
	}
	require.NoError(t, os.Chmod(runs, 0o777))
	spec, err := os.ReadFile("../examples/reviews/reviews.yaml")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(data, "reviews.yaml"), spec, 0o644))
	table, err := os.ReadFile("../examples/reviews/reviews.tsv")
	require.NoError(t, err)
	lines := strings.SplitAfter(string(table), "\n")
	if rows > 0 {
		lines = lines[:rows+1]
	}
	require.NoError(t, os.WriteFile(filepath.Join(data, "reviews.tsv"), []byte(strings.Join(lines, "")), 0o644))
	require.NoError(t, os.Mkdir(filepath.Join(data, "data"), 0o755)) // where the model is mounted
	model, err := filepath.EvalSymlinks("../examples/reviews/data")
	require.NoError(t, err)
	return []string{"-v", data + ":/data:ro", "-v", model + ":/data/data:ro", "-v", runs + ":/runs"}, runs
}

// accuracy is the last one of a run's metrics.csv, and the number of its epochs.
func accuracy(t *testing.T, folder string) (last float64, epochs int) {
	t.Helper()
	f, err := os.Open(filepath.Join(folder, "metrics.csv"))
	require.NoError(t, err)
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	require.NoError(t, err)
	require.Greater(t, len(rows), 1)
	column := slices.Index(rows[0], "accuracy")
	require.GreaterOrEqual(t, column, 0)
	last, err = strconv.ParseFloat(rows[len(rows)-1][column], 64)
	require.NoError(t, err)
	return last, len(rows) - 1
}

// The demo, as a cluster would run it: no network, no rights, another user.
func TestDemoTrains(t *testing.T) {
	name := image(t, "cpu")
	mounts, runs := reviews(t, 0)
	e := run(t, slices.Concat(strict, mounts, []string{"--memory", "4g"}), name, "train", "/data/reviews.yaml", "out=/runs/demo")
	require.Zero(t, e.code, e.out)
	t.Logf("%.0f s\n%s", e.seconds, e.out)
	got, epochs := accuracy(t, filepath.Join(runs, "demo"))
	assert.Equal(t, 2, epochs)
	assert.InDelta(t, 0.8294, got, 0.00005)

	p := run(t, slices.Concat(strict, mounts), name, "predict", "/runs/demo", "A quiet, generous film that stays with you for days.")
	require.Zero(t, p.code, p.out)
	assert.Contains(t, p.out, "positive")
}

// Without the spec's key out a run goes where the volume for runs is.
func TestRunsGoToTheVolume(t *testing.T) {
	name := image(t, "cpu")
	mounts, runs := reviews(t, 300)
	e := run(t, slices.Concat(strict, mounts), name, "train", "/data/reviews.yaml", "phases[0].epochs=1")
	require.Zero(t, e.code, e.out)
	assert.FileExists(t, filepath.Join(runs, "reviews-1", "weights", "best.safetensors"))
}

// Under a limit below what the demo likes to have it keeps less, or is refused before it starts.
func TestMemoryLimit(t *testing.T) {
	name := image(t, "cpu")
	for _, limit := range []string{"1g", "512m", "256m"} {
		t.Run(limit, func(t *testing.T) {
			mounts, runs := reviews(t, 0)
			e := run(t, slices.Concat(strict, mounts, []string{"--memory", limit, "--memory-swap", limit}), name,
				"train", "/data/reviews.yaml", "phases[0].epochs=1", "out=/runs/demo")
			t.Logf("%.0f s, code %d\n%s", e.seconds, e.code, e.out)
			assert.False(t, e.killed, "the kernel killed it for memory")
			assert.NotEqual(t, 137, e.code)
			if e.code == 0 {
				_, epochs := accuracy(t, filepath.Join(runs, "demo"))
				assert.Equal(t, 1, epochs)
				return
			}
			assert.Contains(t, []int{1, exitUsage}, e.code)
			assert.Regexp(t, `(?i)memory`, e.out)
			assert.NoFileExists(t, filepath.Join(runs, "demo", "metrics.csv"), "it was refused only after it had started")
		})
	}
}

func TestCPULimit(t *testing.T) {
	name := image(t, "cpu")
	d := doctor(t, append(slices.Clone(strict), "--cpus", "1"), name)
	assert.Equal(t, 1, d.Threads)

	mounts, _ := reviews(t, 300)
	e := run(t, slices.Concat(strict, mounts, []string{"--cpus", "1"}), name, "train", "/data/reviews.yaml", "phases[0].epochs=1", "out=/runs/one")
	require.Zero(t, e.code, e.out)
	assert.Regexp(t, `\b1 thread\b`, e.out)
}

// A wrong spec has a code of its own, with which a Job's policy ends the Job at once.
func TestWrongSpec(t *testing.T) {
	name := image(t, "cpu")
	mounts, runs := reviews(t, 10)
	e := run(t, slices.Concat(strict, mounts), name, "train", "/data/reviews.yaml", "batch.sise=3", "out=/runs/wrong")
	assert.Equal(t, exitUsage, e.code, e.out)
	assert.Contains(t, e.out, "sise")
	assert.NoDirExists(t, filepath.Join(runs, "wrong"))
}

// SIGTERM at any moment after the program's first word: it ends within the grace time that even a hurried cluster
// gives, with the code that means "start it again", and what it leaves is whole. Before that word the kernel drops a
// signal to a process 1 that has not yet said how it takes it.
func TestSIGTERM(t *testing.T) {
	name := image(t, "cpu")
	const moments = 20
	args := []string{"train", "/data/reviews.yaml", "phases[0].epochs=3", "out=/runs/stopped"}
	mounts, _ := reviews(t, 120)
	whole := run(t, slices.Concat(strict, mounts, []string{"--memory", "4g"}), name, args...)
	require.Zero(t, whole.code, whole.out)
	seed := uint64(time.Now().UnixNano())
	t.Logf("a whole run takes %.1f s; seed %d\n%s", whole.seconds, seed, whole.out)
	random := rand.New(rand.NewPCG(seed, 0))

	slowest, stopped, trained := 0.0, 0, 0
	for i := range moments {
		mounts, runs := reviews(t, 120)
		folder := filepath.Join(runs, "stopped")
		c := start(t, slices.Concat(strict, mounts, []string{"--memory", "4g"}), name, args...)
		for c.output() == "" && time.Since(c.started) < time.Minute {
			time.Sleep(20 * time.Millisecond)
		}
		first := time.Since(c.started).Seconds()
		moment := first + random.Float64()*0.95*(whole.seconds-first)
		time.Sleep(time.Duration((moment - time.Since(c.started).Seconds()) * float64(time.Second)))
		sent := time.Now()
		if _, _, err := try(os.Getenv("DOCKER"), "kill", "-s", "TERM", c.id); err != nil {
			t.Logf("%2d: at %.1f s it had ended already", i, moment)
			continue
		}
		e := c.wait(t)
		took := e.at.Sub(sent).Seconds()
		if e.code == 0 { // it was at its end
			t.Logf("%2d: SIGTERM at %.1f s, ended by itself", i, moment)
			continue
		}
		slowest = max(slowest, took)
		stopped++
		assert.Equal(t, exitStopped, e.code, "SIGTERM at %.1f s\n%s", moment, e.out)
		assert.Less(t, took, 5.0, "SIGTERM at %.1f s", moment)
		left := leftovers(t, folder)
		assert.Empty(t, left, "half-written, after SIGTERM at %.1f s", moment)
		epochs := 0
		if _, err := os.Stat(filepath.Join(folder, "metrics.csv")); err == nil {
			_, epochs = accuracy(t, folder)
		}
		if epochs > 0 {
			trained++
			p := run(t, slices.Concat(strict, mounts), name, "predict", "/runs/stopped", "A quiet, generous film that stays with you for days.")
			assert.Zero(t, p.code, "the weights after SIGTERM at %.1f s, in epoch %d\n%s", moment, epochs+1, p.out)
			assert.Regexp(t, `positive|negative`, p.out)
		}
		t.Logf("%2d: SIGTERM at %.1f s, after %d epochs: code %d after %.2f s", i, moment, epochs, e.code, took)
	}
	t.Logf("%d of %d were stopped, %d of them with an epoch behind them; the slowest took %.2f s", stopped, moments, trained, slowest)
	assert.Greater(t, stopped, moments/2)
}

// leftovers are the files of a run folder that are under a temporary name, and weights that are cut off.
func leftovers(t *testing.T, folder string) (left []string) {
	t.Helper()
	_ = filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // there is no folder yet
		}
		if strings.HasSuffix(path, ".tmp") || strings.HasPrefix(d.Name(), ".") {
			left = append(left, path)
		}
		if info, err := d.Info(); err == nil && strings.HasSuffix(path, ".safetensors") && info.Size() < 80e6 {
			left = append(left, path)
		}
		return nil
	})
	return left
}
