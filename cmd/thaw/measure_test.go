package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestMeasureResume measures how long thaw resume takes from the start of its process to the gradients of its first
// step, for a run that was stopped after 10,000 steps of one epoch, on a machine that computes nothing else:
//
//	THAW_MEASURE=resume go test -run TestMeasureResume -v -timeout 30m ./cmd/thaw
//
// The model is tiny: reading a large one, and kept output of frozen stages, which is computed again, come to it.
func TestMeasureResume(t *testing.T) {
	if os.Getenv("THAW_MEASURE") != "resume" {
		t.Skip("THAW_MEASURE=resume measures for a minute")
	}
	workplace(t)
	var rows strings.Builder
	rows.WriteString("t\tl\n")
	for i := range 50_000 {
		fmt.Fprintf(&rows, "the film %d was %s\t%s\n", i, []string{"dull", "great"}[i%2], []string{"bad", "good"}[i%2])
	}
	write(t, "rows.tsv", rows.String())
	self, err := os.Executable()
	require.NoError(t, err)
	// begin starts the program and gives what it prints, a record a line.
	begin := func(args ...string) (*exec.Cmd, *bufio.Scanner) {
		c := exec.CommandContext(t.Context(), self, append(args, "--log", "json")...)
		c.Env = append(os.Environ(), "THAW_TEST_MAIN=1")
		c.Stderr = os.Stderr
		out, err := c.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, c.Start())
		return c, bufio.NewScanner(out)
	}
	record := func(lines *bufio.Scanner) (r struct {
		Msg  string
		Step int
	}) {
		require.NoError(t, json.Unmarshal(lines.Bytes(), &r), lines.Text())
		return r
	}

	c, lines := begin("train", "spec.yaml", "out=run", "threads=1", "data.test=0.02", "batch.size=4", "checkpoint.steps=1000")
	for stopped := false; lines.Scan(); {
		if r := record(lines); r.Msg == "checkpoint" && r.Step >= 10_000 && !stopped { // a second signal would end it at once
			stopped = true
			require.NoError(t, c.Process.Signal(syscall.SIGTERM))
		}
	}
	require.Error(t, c.Wait())
	require.Equal(t, exitStopped, c.ProcessState.ExitCode())
	newest, err := os.ReadFile(filepath.Join("run", "checkpoints", "latest"))
	require.NoError(t, err)

	var took []time.Duration
	for range 7 {
		began := time.Now()
		c, lines := begin("resume", "run")
		for lines.Scan() && record(lines).Msg != "check" { // which tells of the first step's gradients
		}
		took = append(took, time.Since(began))
		require.NoError(t, c.Process.Kill(), "it trains")
		for lines.Scan() {
		}
		_ = c.Wait()
	}
	slices.Sort(took)
	t.Logf("resumed from %s: the first step after %v (%v to %v)", strings.TrimSpace(string(newest)),
		took[len(took)/2].Round(time.Millisecond), took[0].Round(time.Millisecond), took[len(took)-1].Round(time.Millisecond))
	assert.Less(t, took[len(took)/2], 2*time.Second)
}
