package main

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// launched is a process that runs thaw launch with these arguments.
func launched(t *testing.T, args ...string) (c *exec.Cmd, out, said *bytes.Buffer) {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	c = exec.Command(self, append([]string{"launch"}, args...)...)
	c.Env = append(os.Environ(), "THAW_TEST_MAIN=1", "OMP_NUM_THREADS=1")
	out, said = &bytes.Buffer{}, &bytes.Buffer{}
	c.Stdout, c.Stderr = out, said
	return c, out, said
}

func TestLaunch(t *testing.T) {
	workplace(t)
	c, out, said := launched(t, "--nproc", "1", "--log-dir", "logs", "train", "--log=json", "spec.yaml", "out=run")
	require.NoError(t, c.Run(), said)
	assert.FileExists(t, "run/weights/best.safetensors")
	log, err := os.ReadFile("logs/rank0.log")
	require.NoError(t, err)
	header, rest, _ := strings.Cut(string(log), "\n")
	assert.Regexp(t, `^---- rank 0 of 1, start 1, \S+: .* train --log=json spec.yaml out=run$`, header)
	assert.Equal(t, out.String(), rest)
}

// A stop is passed on, and reaches rank 0 once: a second signal would end it at once, without a checkpoint.
func TestLaunchIsStopped(t *testing.T) {
	workplace(t)
	c, out, said := launched(t, "--nproc=1", "--", "train", "spec.yaml", "out=run", "phases[0].epochs=10000")
	require.NoError(t, c.Start())
	require.Eventually(t, func() bool {
		_, err := os.Stat("run/weights/best.safetensors") // of the first epoch
		return err == nil
	}, 60*time.Second, 10*time.Millisecond, said)
	require.NoError(t, c.Process.Signal(syscall.SIGTERM))
	_ = c.Wait()
	assert.Equal(t, exitStopped, c.ProcessState.ExitCode(), said)
	assert.Equal(t, "thaw: stopped\n", said.String(), "once")
	assert.Contains(t, out.String(), "\nsaved     checkpoint")
}

// What is wrong with a spec is said once, however many ranks there are.
func TestLaunchOfWrongSpec(t *testing.T) {
	workplace(t)
	c, _, said := launched(t, "--nproc=1", "--max-restarts=3", "train", "spec.yaml", "seeds=2")
	_ = c.Run()
	assert.Equal(t, exitUsage, c.ProcessState.ExitCode())
	assert.Equal(t, 1, strings.Count(said.String(), "seeds"), said)
	assert.NotContains(t, said.String(), "launch")
}

func TestLaunchRefuses(t *testing.T) {
	workplace(t)
	before := listing(t)
	for _, c := range []struct{ args, want string }{
		{"train spec.yaml", "missing flags: --nproc=N"},
		{"--nproc 2", `expected "<train SPEC|resume RUN> ..."`},
		{"--nproc 2 --", `found ""`},
		{"--nproc 2 eval run", `what several ranks can run is train SPEC or resume RUN, found "eval run"`},
		{"--nproc 2 spec.yaml", `found "spec.yaml"`},
		{"--nproc 0 train spec.yaml", "--nproc=0 is no number of processes: give a number from 1, auto, gpu or cpu"},
		{"--nproc two train spec.yaml", "--nproc=two is no number of processes"},
		{"--nproc 2 --node-rank 1 train spec.yaml", "give --nnodes, too"},
		{"--nproc 2 --nnodes 2 train spec.yaml", "give --master-addr"},
		{"--nproc 2 --nnodes 2 --master-addr h --master-port 1 --node-rank 2 train spec.yaml", "--node-rank 2"},
		{"--nproc 2 --nnodes 2 --master-addr h --master-port 1 --max-restarts 1 train spec.yaml", "--max-restarts is for one machine"},
		{"--nproc 2 --max-restarts -1 train spec.yaml", "--max-restarts"},
		{"--nproc 2 --grace=-1s train spec.yaml", "--grace -1s"},
	} {
		got := invoke(t, "", append([]string{"launch"}, strings.Fields(c.args)...)...)
		assert.Equal(t, exitUsage, got.code, c.args)
		assert.Contains(t, got.err, c.want, c.args)
	}
	t.Setenv("PET_NNODES", "1")
	t.Setenv("PET_NPROC_PER_NODE", "2")
	got := invoke(t, "", "launch", "--nproc", "2", "train", "spec.yaml")
	assert.Equal(t, exitUsage, got.code)
	assert.Contains(t, got.err, "this process was started as one of several already; start thaw train spec.yaml in its place")
	assert.Equal(t, before, listing(t))
}

// A verb of which each rank would do the same is not started by several.
func TestVerbsOfOneProcess(t *testing.T) {
	workplace(t)
	before := listing(t)
	t.Setenv("SLURM_NTASKS", "2")
	for _, verb := range []string{"plan", "lr-find", "sweep"} {
		args := []string{verb, "spec.yaml"}
		if verb == "sweep" {
			args = append(args, "seed=1,2")
		}
		t.Setenv("RANK", "")
		got := invoke(t, "", args...)
		assert.Equal(t, exitUsage, got.code)
		assert.Contains(t, got.err, "thaw: "+verb+": SLURM_NTASKS=2, and this process is none of Slurm's tasks: start it with srun")
		for name, value := range map[string]string{"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "h", "MASTER_PORT": "29500"} {
			t.Setenv(name, value)
		}
		got = invoke(t, "", args...)
		assert.Equal(t, exitUsage, got.code)
		assert.Contains(t, got.err, "thaw: "+verb+": rank 1 of 2 · node 1 of 2 · store at h:29500 · RANK and WORLD_SIZE: thaw "+verb+" runs in one process")
		t.Setenv("WORLD_SIZE", "")
	}
	assert.Equal(t, before, listing(t))
}
