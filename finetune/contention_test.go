package finetune

import (
	"os/exec"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/torch"
)

// Threads that compute where other processes keep all CPUs busy find that out, and say so.
func TestBusyNeighboursAreTold(t *testing.T) {
	if testing.Short() {
		t.Skip("keeps all CPUs busy for some seconds")
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if torch.NumThreads() < 2 {
		t.Skip("one thread waits for no other")
	}
	for range runtime.NumCPU() {
		neighbour := exec.CommandContext(t.Context(), "sh", "-c", "while :; do :; done")
		require.NoError(t, neighbour.Start())
		defer func() {
			_ = neighbour.Process.Kill()
			_ = neighbour.Wait() // it was killed
		}()
	}
	var told []Event
	w := &watcher{
		balance: newBalance(torch.NumThreads(), false, float64(runtime.NumCPU()), 0), fixed: "the test has it so",
		emit: func(e Event) error { told = append(told, e); return nil },
	}
	a := torch.Ones(torch.Float32, torch.CPU, 1024, 1024)
	defer a.Close()
	w.Begin()
	for began := time.Now(); len(told) == 0 && time.Since(began) < time.Minute; {
		torch.Scoped(func() {
			for range 20 {
				a.MatMul(a)
			}
		})
		require.NoError(t, w.Stepped(20, 1))
	}
	w.close()
	require.Len(t, told, 1)
	switch e := told[0].(type) {
	case ThreadsChosen:
		assert.Equal(t, torch.NumThreads(), e.Threads, "it may not change")
		assert.False(t, e.Spinning)
		assert.Greater(t, e.Faster, 1.0)
	case train.Warning:
		assert.Equal(t, train.Contended, e.Kind)
		assert.Contains(t, e.Text, "as the test has it so, where fewer might be faster")
	default:
		t.Errorf("%T", e)
	}
	assert.Equal(t, w.balance.usual, w.balance.now)
}

// Where a run is to be the same from one time to the next, it keeps its number of threads.
func TestThreadsAreKept(t *testing.T) {
	t.Setenv("OMP_NUM_THREADS", "")
	t.Setenv("MKL_NUM_THREADS", "")
	for _, c := range []struct {
		options Options
		want    string
	}{
		{Options{}, ""},
		{Options{Threads: 2}, "it was given"},
		{Options{Deterministic: true}, "deterministic"},
		{Options{Resume: true}, "checkpoints"},
	} {
		r := &run[*rows]{options: c.options}
		if c.want == "" {
			assert.Empty(t, r.threadsFixed(), "%+v", c.options)
		} else {
			assert.Contains(t, r.threadsFixed(), c.want)
		}
	}
	assert.Contains(t, (&run[*rows]{checkpoints: &checkpoints{}}).threadsFixed(), "checkpoints")
	t.Setenv("OMP_NUM_THREADS", "2")
	assert.NotEmpty(t, (&run[*rows]{}).threadsFixed())
}
