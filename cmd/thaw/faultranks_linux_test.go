package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// member is a process of a test.
type member struct {
	cmd   *exec.Cmd
	out   lockedBuffer // its standard output
	said  lockedBuffer // its standard error
	over  chan struct{}
	ended time.Time
}

// lockedBuffer may be read while a process writes.
type lockedBuffer struct {
	mutex sync.Mutex
	buf   bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.buf.String()
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
	address, port := "127.0.0.1", 0
	if n == nil {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		port = l.Addr().(*net.TCPAddr).Port
		require.NoError(t, l.Close())
	} else {
		address, port = n.address(0), 29500
	}
	var all []*member
	for r := range size {
		env := []string{
			fmt.Sprint("RANK=", r), fmt.Sprint("WORLD_SIZE=", size), "MASTER_ADDR=" + address, fmt.Sprint("MASTER_PORT=", port),
		}
		var prefix []string
		if n == nil {
			env = append(env, fmt.Sprint("LOCAL_RANK=", r), fmt.Sprint("LOCAL_WORLD_SIZE=", size))
		} else {
			prefix = []string{"ip", "netns", "exec", n.host(r)}
		}
		all = append(all, begin(t, prefix, env, args...))
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
