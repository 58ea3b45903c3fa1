package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// cachePlace is workplace with a cache folder of its own, whose path it gives.
func cachePlace(t *testing.T) string {
	t.Helper()
	folder := workplace(t)
	t.Setenv("THAW_CACHE", filepath.Join(folder, "cache"))
	write(t, "spec.yaml", strings.Replace(sampleSpec, "{train: all, epochs: 4, lr: 5e-3, head_lr: 5e-3}", "{train: top 1, epochs: 2, lr: 5e-3}", 1))
	return filepath.Join(folder, "cache", "frozen")
}

func TestCache(t *testing.T) {
	folder := cachePlace(t)
	assert.Equal(t, "nothing is kept in "+folder+"\n", ok(t, "", "cache", "ls"))
	assert.Equal(t, "[]\n", ok(t, "", "cache", "ls", "--json"))
	ok(t, "", "train", "spec.yaml", "out=memory")
	out := ok(t, "", "train", "spec.yaml", "out=first", "cache=disk")
	assert.Contains(t, out, "run once, kept: 1 MB on disk")
	assert.Equal(t, 2, strings.Count(out, "MB kept: "+folder), out)
	out = ok(t, "", "train", "spec.yaml", "out=second")
	assert.Equal(t, 2, strings.Count(out, "MB found, of "), out)
	assert.Equal(t, weights(t, "memory"), weights(t, "first"))
	assert.Equal(t, weights(t, "memory"), weights(t, "second"))

	var files []map[string]any
	require.NoError(t, json.Unmarshal([]byte(ok(t, "", "cache", "ls", "--json")), &files))
	require.Len(t, files, 2)
	assert.Regexp(t, `/model$`, files[0]["model"])
	assert.Regexp(t, `rows\.tsv$`, files[0]["data"])
	assert.Equal(t, false, files[0]["in_use"])
	table := ok(t, "", "cache", "ls")
	first, second := files[0]["key"].(string), files[1]["key"].(string)
	assert.Regexp(t, `(?m)^KEY +SIZE +MADE +LAST USED +MODEL +LAYERS +DATA\n`+first[:12]+` +1 MB +20.*/model +embeddings .* samples of .*rows\.tsv$`, table)
	assert.Regexp(t, `(?m)^2 files, 1 MB, in `+folder+`$`, table)

	// Another text is other data: the test rows have not changed.
	rows, err := os.ReadFile("rows.tsv")
	require.NoError(t, err)
	write(t, "rows.tsv", strings.Replace(string(rows), "film 1 was", "film 1 is", 1))
	out = ok(t, "", "train", "spec.yaml", "out=other", "cache=disk")
	assert.Equal(t, 1, strings.Count(out, "MB kept: "+folder), out)
	assert.Equal(t, 1, strings.Count(out, "MB found, of "), out)
	// Another label is none: frozen layers read the texts alone.
	write(t, "rows.tsv", strings.Replace(string(rows), "dull\tbad", "dull\tgood", 1))
	assert.Equal(t, 2, strings.Count(ok(t, "", "train", "spec.yaml", "out=relabelled"), "MB found, of "))

	got := invoke(t, "", "cache", "clear", "zz")
	assert.Equal(t, exitUsage, got.code)
	assert.Equal(t, "thaw: cache clear: nothing is kept under \"zz\"; thaw cache ls lists all\n", got.err)
	used, err := os.Open(filepath.Join(folder, first+".safetensors"))
	require.NoError(t, err)
	require.NoError(t, syscall.Flock(int(used.Fd()), syscall.LOCK_SH)) // as a run has it
	assert.Contains(t, ok(t, "", "cache", "ls"), "by a run, now")
	got = invoke(t, "", "cache", "clear", first)
	assert.Equal(t, exitFailed, got.code)
	assert.Equal(t, "thaw: "+first[:12]+" stays: a run uses it\n", got.err)
	assert.Equal(t, "removed 1 file, 1 MB, from "+folder+"\n", ok(t, "", "cache", "clear", second[:8]))
	write(t, filepath.Join(folder, ".writing-LEFT.tmp"), "of a process that was killed")
	got = invoke(t, "", "cache", "clear")
	assert.Equal(t, exitFailed, got.code)
	assert.Equal(t, "removed 1 file, 1 MB, from "+folder+"\n", got.out)
	require.NoError(t, used.Close())
	assert.Equal(t, "removed 1 file, 1 MB, from "+folder+"\n", ok(t, "", "cache", "clear"))
	left, err := os.ReadDir(folder)
	require.NoError(t, err)
	assert.Empty(t, left)

	t.Setenv("THAW_CACHE_LIMIT", "much")
	assert.Contains(t, invoke(t, "", "cache", "ls").err, `THAW_CACHE_LIMIT: expected a size such as 500MB or 20GB, found "much"`)
}

// A sweep's processes, one after the other, and a run that goes on find what the first has kept.
func TestCacheAcrossRuns(t *testing.T) {
	folder := cachePlace(t)
	ok(t, "", "sweep", "spec.yaml", "lr=1e-3,2e-3", "cache=disk", "--out=sweep")
	files, err := filepath.Glob(filepath.Join(folder, "*.safetensors"))
	require.NoError(t, err)
	assert.Len(t, files, 2)
	assert.Equal(t, exitStopped, invoke(t, "", "train", "spec.yaml", "out=run", "cache=disk", "stop_after=1ns").code)
	out := ok(t, "", "resume", "run", "stop_after=1h")
	assert.Equal(t, 2, strings.Count(out, "MB found, of "), out)
}

// TestCacheTorture kills runs while they write what they keep, at random moments, and has a run after each: whatever was
// left, it comes to the weights of a run without files. THAW_CACHE_TORTURE is how often (make cache-torture).
func TestCacheTorture(t *testing.T) {
	times := 5
	if n, err := strconv.Atoi(os.Getenv("THAW_CACHE_TORTURE")); err == nil {
		times = n
	}
	folder := cachePlace(t)
	var rows strings.Builder
	rows.WriteString("t\tl\n")
	for i := range 3000 {
		fmt.Fprintf(&rows, "the film %d was %s\t%s\n", i, []string{"dull", "great"}[i%2], []string{"bad", "good"}[i%2])
	}
	write(t, "rows.tsv", rows.String())
	self, err := os.Executable()
	require.NoError(t, err)
	start := func(out, place string) *exec.Cmd {
		c := exec.Command(self, "train", "--log=json", "spec.yaml", "out="+out, "cache="+place)
		c.Env = append(os.Environ(), "THAW_TEST_MAIN=1", "OMP_NUM_THREADS=1")
		require.NoError(t, c.Start())
		return c
	}
	require.NoError(t, start("plain", "memory").Wait())
	want := weights(t, "plain")
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 0))
	temporary, whole, fills := 0, 0, time.Duration(0)
	for n := range times {
		require.NoError(t, os.RemoveAll(folder))
		c := start(fmt.Sprint("killed-", n), "disk")
		began := time.Now()
		for { // until the file is begun
			if left, _ := filepath.Glob(filepath.Join(folder, ".writing-*")); len(left) > 0 {
				break
			}
			require.Less(t, time.Since(began), time.Minute)
			time.Sleep(time.Millisecond)
		}
		if fills == 0 { // how long writing takes
			at := time.Now()
			for {
				if left, _ := filepath.Glob(filepath.Join(folder, "*.safetensors")); len(left) == 2 {
					break
				}
				require.Less(t, time.Since(at), time.Minute)
				time.Sleep(time.Millisecond)
			}
			fills = time.Since(at)
			require.NoError(t, c.Wait())
			continue
		}
		time.Sleep(time.Duration(rng.Float64() * 1.1 * float64(fills)))
		require.NoError(t, c.Process.Kill())
		_ = c.Wait()
		if left, _ := filepath.Glob(filepath.Join(folder, ".writing-*")); len(left) > 0 {
			temporary++
		}
		if left, _ := filepath.Glob(filepath.Join(folder, "*.safetensors")); len(left) > 0 {
			whole++
		}
		out := fmt.Sprint("run-", n)
		if n%3 == 0 { // two at once
			other := start(out+"-too", "disk")
			defer func() { require.NoError(t, other.Wait()); require.Equal(t, want, weights(t, out+"-too")) }()
		}
		require.NoError(t, start(out, "disk").Wait())
		require.Equal(t, want, weights(t, out), "run %d, seed %d", n, seed)
		require.NoError(t, start(out+"-again", "auto").Wait())
		require.Equal(t, want, weights(t, out+"-again"), "run %d, seed %d", n, seed)
		if n%3 != 0 {
			left, _ := filepath.Glob(filepath.Join(folder, ".writing-*"))
			require.Empty(t, left, "the next run removes what was left")
		}
		require.NoError(t, os.RemoveAll(out+"-again"))
	}
	t.Logf("killed %d runs at random moments of the %v in which they write: %d left a temporary file, %d a whole one; all runs after them came to "+
		"the same weights (seed %d)", times-1, fills, temporary, whole, seed)
}
