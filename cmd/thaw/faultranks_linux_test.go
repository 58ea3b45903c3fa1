package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch/dist/disttest"
	"github.com/thaw-ml/thaw/torch/dist/launch"
)

// member is a process of a test.
type member struct {
	cmd   *exec.Cmd
	out   disttest.Buffer // its standard output
	said  disttest.Buffer // its standard error
	over  chan struct{}
	ended time.Time
}

// begin starts a process; prefix goes before this program.
func begin(t *testing.T, prefix []string, env []string, args ...string) *member {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	command := slices.Concat(prefix, []string{self}, args)
	m := &member{cmd: exec.Command(command[0], command[1:]...), over: make(chan struct{})}
	m.cmd.Env = slices.Concat(os.Environ(), []string{"THAW_TEST_MAIN=1", "OMP_NUM_THREADS=1"}, env)
	m.cmd.Stdout, m.cmd.Stderr = &m.out, &m.said
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(t, m.cmd.Start())
	go func() {
		_ = m.cmd.Wait()
		m.ended = time.Now()
		close(m.over)
	}()
	t.Cleanup(m.kill)
	return m
}

func (m *member) kill() {
	_ = syscall.Kill(-m.cmd.Process.Pid, syscall.SIGKILL)
	<-m.over
}

// wait waits for the end of the process, and gives its exit code.
func (m *member) wait(t *testing.T, most time.Duration) int {
	t.Helper()
	select {
	case <-m.over:
	case <-time.After(most):
		_ = m.cmd.Process.Signal(syscall.SIGQUIT) // which has a Go program print what it waits for
		time.Sleep(time.Second)
		m.kill()
		require.Fail(t, "a process hangs", "after %v: %s", most, m.said.String())
	}
	return m.cmd.ProcessState.ExitCode()
}

// trainArgs are those of a run that goes on where it was begun.
func trainArgs(folder string, more ...string) []string {
	return slices.Concat([]string{"train", "--resume-if-there", "spec.yaml", "out=" + folder}, more)
}

// ranks starts so many ranks of a command; n is the network in which each is a host, or nil for this machine's.
func ranks(t *testing.T, size int, n *network, args ...string) []*member {
	t.Helper()
	w := launch.World{Size: size, LocalSize: 1, Nodes: 1, Address: "127.0.0.1"}
	if n == nil {
		var err error
		w.Port, err = launch.FreePort()
		require.NoError(t, err)
		w.LocalSize = size
	} else {
		w.Address, w.Port = n.address(0), 29500
	}
	var all []*member
	for r := range size {
		w.Rank = r
		var prefix []string
		if n == nil {
			w.LocalRank = r
		} else {
			prefix = []string{"ip", "netns", "exec", n.host(r)}
		}
		all = append(all, begin(t, prefix, w.Environ(), args...))
	}
	return all
}

// finish waits for ranks that are to end well.
func finish(t *testing.T, all []*member) {
	t.Helper()
	for r, m := range all {
		require.Zero(t, m.wait(t, time.Minute), "rank %d: %s", r, m.said.String())
	}
}

// children are the ranks that a launcher runs, by number.
func children(t *testing.T, launcher int) map[int]int {
	t.Helper()
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", launcher))
	require.NoError(t, err)
	pids := map[int]int{}
	for _, list := range lists {
		text, err := os.ReadFile(list)
		if err != nil {
			continue // the thread has ended
		}
		for _, field := range strings.Fields(string(text)) {
			pid, err := strconv.Atoi(field)
			require.NoError(t, err)
			env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
			if err != nil {
				continue
			}
			for entry := range strings.SplitSeq(string(env), "\x00") {
				if number, ok := strings.CutPrefix(entry, "RANK="); ok {
					r, err := strconv.Atoi(number)
					require.NoError(t, err)
					pids[r] = pid
				}
			}
		}
	}
	return pids
}
