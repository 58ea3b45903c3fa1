//go:build cluster

package slurm_test

import (
	"crypto/sha256"
	"fmt"
	"os"
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

// together has what ranks need here beside Slurm's variables: no name server knows the nodes' names, and threads are equal.
func together(t *testing.T) {
	t.Helper()
	t.Setenv("MASTER_ADDR", "127.0.0.1")
	t.Setenv("OMP_NUM_THREADS", "1")
}

// Ranks that srun starts train one run, with the same weights to the last bit wherever they are.
func TestRanks(t *testing.T) {
	together(t)
	weights := map[string]string{}
	for _, c := range []struct {
		ranks, name string
		args        []string
		line        string // of what is printed
	}{
		{"two", "two nodes", []string{"--nodes=2", "--ntasks=2"}, `rank 0 of 2 · node 0 of 2 · store at 127\.0\.0\.1:1\d{4} · Slurm`},
		{"two", "two tasks a node", []string{"--nodes=1", "--ntasks=2"}, `rank 0 of 2 · store at 127\.0\.0\.1:1\d{4} · Slurm`},
		{"three", "three, on two nodes", []string{"--nodes=2", "--ntasks=3"},
			`rank 0 of 3 · node 0 of 2 · local rank 0 of 2 · store at 127\.0\.0\.1:1\d{4} · Slurm`},
	} {
		folder := workplace(t, t.TempDir())
		out := slurm.ask(t, folder, "srun", append(c.args, "thaw", "train", "spec.yaml")...)
		assert.Regexp(t, `(?m)^processes `+c.line+`$`, out, c.name)
		assert.Equal(t, 1, strings.Count(out, "\nepoch 2 "), "rank 0 prints, and no other: %s", out)
		require.Equal(t, []string{"spec-1"}, runs(t, folder), c.name)
		data, err := os.ReadFile(filepath.Join(folder, "runs/spec-1/weights/last.safetensors"))
		require.NoError(t, err)
		hash := fmt.Sprintf("%x", sha256.Sum256(data))
		if weights[c.ranks] == "" {
			weights[c.ranks] = hash
		}
		assert.Equal(t, weights[c.ranks], hash, c.name)
	}
}

// The script as it stands, on two nodes: stopped, put into the queue again, and gone on with.
func TestRanksAreRequeued(t *testing.T) {
	together(t)
	s := scripts(t)["bare"]
	j := submit(t, s.work, "--nodes=2", "--ntasks=2", s.path, s.spec, endless)
	j.training()
	slurm.ask(t, s.work, "scancel", "--signal=TERM", j.id)
	require.Eventually(t, func() bool { return resumed.MatchString(j.output()) }, 120*time.Second, 100*time.Millisecond, "does not go on")
	assert.Equal(t, "1", j.field("Restarts"))
	assert.Contains(t, j.output(), "processes rank 0 of 2 · node 0 of 2")
	slurm.ask(t, s.work, "scancel", j.id)
	state, _ := j.ended()
	assert.Equal(t, "CANCELLED", state)
	assert.Equal(t, []string{"thaw-" + j.id}, runs(t, s.work))
	assert.Equal(t, 1, strings.Count(j.output(), "\nepoch 1 "), "no epoch twice")
}

// A rank that is killed ends the others within seconds, with a line that says so.
func TestRankIsKilled(t *testing.T) {
	together(t)
	folder := workplace(t, t.TempDir())
	j := submit(t, folder, "--nodes=2", "--ntasks=2", "--wrap=srun thaw train spec.yaml out=run "+endless)
	j.training()
	began := time.Now()
	require.NoError(t, syscall.Kill(rank(t, j.id, "1"), syscall.SIGKILL))
	state, _ := j.ended()
	assert.Less(t, time.Since(began), 20*time.Second)
	assert.Equal(t, "FAILED", state)
	assert.Regexp(t, `(?m)^thaw: .*rank \d`, j.output())
}

// rank is the process of a job's rank.
func rank(t *testing.T, job, number string) int {
	t.Helper()
	environments, err := filepath.Glob("/proc/[0-9]*/environ")
	require.NoError(t, err)
	for _, path := range environments {
		data, _ := os.ReadFile(path) // of a process that has just ended there is none
		set := strings.Split(string(data), "\x00")
		command, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "comm"))
		if slices.Contains(set, "SLURM_JOB_ID="+job) && slices.Contains(set, "SLURM_PROCID="+number) && string(command) == "thaw\n" {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			require.NoError(t, err)
			return pid
		}
	}
	t.Fatalf("there is no rank %s of job %s", number, job)
	return 0
}

// In a script, Slurm's variables are those of rank 0 although nothing was launched.
func TestRanksWithoutSrun(t *testing.T) {
	folder := workplace(t, t.TempDir())
	j := submit(t, folder, "--ntasks=2", "--wrap=thaw train spec.yaml")
	state, code := j.ended()
	assert.Equal(t, "FAILED 2:0", state+" "+code)
	assert.Contains(t, j.output(), "start it with srun")
	assert.Empty(t, runs(t, folder))
}

// One task is one rank, in a step and in a script.
func TestOneRank(t *testing.T) {
	folder := workplace(t, t.TempDir())
	assert.Contains(t, slurm.ask(t, folder, "srun", "--ntasks=1", "thaw", "train", "spec.yaml"), "\nepoch 2 ")
	state, code := submit(t, folder, "--ntasks=1", "--wrap=thaw train spec.yaml").ended()
	assert.Equal(t, "COMPLETED 0:0", state+" "+code)
	assert.Equal(t, []string{"spec-1", "spec-2"}, runs(t, folder))
}

// The other commands of the program, which write no run folder, run in any launch.
func TestOtherCommands(t *testing.T) {
	assert.Equal(t, 2, strings.Count(slurm.ask(t, t.TempDir(), "srun", "--nodes=2", "thaw", "version"), "libtorch"))
}
