// Package disttest starts a test program anew as several ranks. The program's TestMain tells by the environment that it is one.
package disttest

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch/dist/launch"
)

// Buffer may be read while a process writes.
type Buffer struct {
	mutex sync.Mutex
	b     strings.Builder
}

// Write appends p.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.b.Write(p)
}

// String is what was written so far.
func (b *Buffer) String() string {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.b.String()
}

// Rank is a process.
type Rank struct {
	Cmd      *exec.Cmd
	Out, Log Buffer    // its standard output and error
	Ended    time.Time // once it was waited for, as is Err
	Err      error
}

// Start starts this program as so many ranks of one thread on this machine, with env beside the variables of torchrun. wait
// waits for all of them. What still runs at the test's end is killed.
func Start(t testing.TB, size int, env ...string) (ranks []*Rank, wait func()) {
	t.Helper()
	port, err := launch.FreePort()
	require.NoError(t, err)
	self, err := os.Executable()
	require.NoError(t, err)
	var group sync.WaitGroup
	for i := range size {
		w := launch.World{Rank: i, Size: size, LocalRank: i, LocalSize: size, Nodes: 1, Address: "127.0.0.1", Port: port}
		r := &Rank{Cmd: exec.Command(self)}
		r.Cmd.Env = append(append(append(os.Environ(), w.Environ()...), "OMP_NUM_THREADS=1"), env...)
		r.Cmd.Stdout, r.Cmd.Stderr = &r.Out, &r.Log
		r.Cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		require.NoError(t, r.Cmd.Start())
		ranks = append(ranks, r)
		group.Go(func() { r.Err, r.Ended = r.Cmd.Wait(), time.Now() })
		t.Cleanup(func() {
			r.Cmd.Process.Kill() //nolint:errcheck // it has ended
		})
	}
	return ranks, group.Wait
}

// Results starts ranks, which are to end well, and gives the JSON that each prints, by rank.
func Results[T any](t testing.TB, size int, env ...string) []T {
	t.Helper()
	ranks, wait := Start(t, size, env...)
	wait()
	out := make([]T, size)
	for i, r := range ranks {
		require.NoError(t, r.Err, "rank %d: %s", i, r.Log.String())
		require.NoError(t, json.Unmarshal([]byte(r.Out.String()), &out[i]), r.Out.String())
	}
	return out
}
