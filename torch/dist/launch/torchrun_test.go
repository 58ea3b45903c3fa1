package launch_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch/dist/launch"
)

// torchrunProgram is that of make peers. It takes ten seconds to start.
func torchrunProgram(t *testing.T) string {
	t.Helper()
	if os.Getenv("THAW_LAUNCHERS") == "" {
		t.Skip("THAW_LAUNCHERS=1 runs this with the torchrun of make peers")
	}
	cache := os.Getenv("THAW_CACHE")
	if cache == "" {
		base, err := os.UserCacheDir()
		require.NoError(t, err)
		cache = filepath.Join(base, "thaw")
	}
	program := filepath.Join(cache, "peers", "bin", "torchrun")
	require.FileExists(t, program, "make peers")
	return program
}

// The real torchrun: its ranks, and why one failed, in its summary.
func TestTorchrun(t *testing.T) {
	program := torchrunProgram(t)
	l := newLocal(t, 2)
	run := func(scripts ...string) (string, error) {
		c := exec.Command(program, append([]string{"--no-python", "--standalone", "--nproc-per-node=2", l.Command[0], l.folder}, scripts...)...)
		c.Env = l.Env
		out, err := c.CombinedOutput()
		return string(out), err
	}
	out, err := run("env")
	require.NoError(t, err, out)
	var runs []string
	for rank := range 2 {
		w, err := launch.Find(launch.Flags{}, l.env(t, rank))
		require.NoError(t, err)
		assert.NotZero(t, w.Port)
		runs = append(runs, w.RunID)
		w.Port, w.RunID = 0, ""
		assert.Equal(t, launch.World{Rank: rank, Size: 2, LocalRank: rank, LocalSize: 2, Nodes: 1, Address: "localhost", AgentStore: true, By: "torchrun"}, w)
	}
	assert.Equal(t, runs[0], runs[1])

	out, err = run("0:obey,exit=1", "1:report=rank 0 has not answered for 2s,exit=1")
	require.Error(t, err)
	assert.Contains(t, out, "rank 0 has not answered for 2s")
}

// Two nodes' torchruns as Trainer tells them what to do, whose variables stay beside the ranks' own.
func TestTorchrunOfTrainer(t *testing.T) {
	program := torchrunProgram(t)
	l := newLocal(t, 2)
	port := strconv.Itoa(20000 + os.Getpid()%10000)
	ended := make(chan error, 2)
	for node := range 2 {
		c := exec.Command(program, "--no-python", l.Command[0], l.folder, "env")
		c.Env = slices.Concat(l.Env, []string{"PET_NNODES=2", "PET_NPROC_PER_NODE=1", "PET_NODE_RANK=" + strconv.Itoa(node),
			"PET_MASTER_ADDR=127.0.0.1", "PET_MASTER_PORT=" + port})
		c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
		go func() {
			out, err := c.CombinedOutput()
			if err != nil {
				err = errors.New(err.Error() + "\n" + string(out))
			}
			ended <- err
		}()
	}
	for range 2 {
		select {
		case err := <-ended:
			require.NoError(t, err)
		case <-time.After(2 * time.Minute):
			t.Fatal("torchrun does not end")
		}
	}
	for rank := range 2 {
		w, err := launch.Find(launch.Flags{}, l.env(t, rank))
		require.NoError(t, err)
		assert.Equal(t, "torchrun", w.By)
		assert.Equal(t, rank, w.Rank)
		assert.Equal(t, rank, w.Node)
		assert.Equal(t, 2, w.Nodes)
		assert.Equal(t, 1, w.LocalSize)
	}
}

func TestWriteErrorFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "error.json")
	getenv := environment("TORCHELASTIC_ERROR_FILE=" + path)
	require.NoError(t, launch.WriteErrorFile(getenv, nil))
	assert.NoFileExists(t, path)
	require.NoError(t, launch.WriteErrorFile(environment(""), errors.New("lost")))
	require.NoError(t, launch.WriteErrorFile(getenv, errors.New(`rank 1 is "lost"`)))
	assert.Regexp(t, `^\{"message":\{"message":"rank 1 is \\"lost\\"","extraInfo":\{"timestamp":"\d{10}"\}\}\}$`, read(t, path))
	assert.ErrorContains(t, launch.WriteErrorFile(environment("TORCHELASTIC_ERROR_FILE=/nonexistent/e.json"), errors.New("lost")), "TORCHELASTIC_ERROR_FILE: open")
}
