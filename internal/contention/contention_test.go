package contention

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// write makes a folder as /proc.
func write(t *testing.T, stat string, threads map[string]string) string {
	proc := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(proc, "stat"), []byte(stat), 0o600))
	for id, text := range threads {
		folder := filepath.Join(proc, "self/task", id)
		require.NoError(t, os.MkdirAll(folder, 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(folder, "schedstat"), []byte(text), 0o600))
	}
	return proc
}

func TestShareOfRecordedCounters(t *testing.T) {
	all := func(int) bool { return true }
	first := readFrom(write(t, "cpu  300 0 0 700 0 0 0 0 0 0\ncpu0 100 0 0 400 0 0 0 0 0 0\ncpu1 200 0 0 300 0 0 0 0 0 0\nintr 5\n",
		map[string]string{"7": "1000000000 500000000 9\n", "8": "0 100000000 1\n"}), all)
	assert.Equal(t, 2, first.cpus)
	assert.Equal(t, 3*time.Second, first.busy)
	// Two seconds on: of four of CPU time 1.9 are this process's, 0.1 idle; irq, softirq and steal count, iowait does not.
	second := readFrom(write(t, "cpu0 200 10 40 400 30 10 20 20 0 0\ncpu1 380 0 10 310 0 0 0 0 0 0\n",
		map[string]string{"7": "1000000000 1200000000 9\n", "9": "0 300000000 1\n"}), all)
	assert.Equal(t, 6900*time.Millisecond, second.busy)
	began := time.Now()
	first.at, second.at = began, began.Add(2*time.Second)
	first.own, second.own = time.Second, 2900*time.Millisecond
	for i, w := range second.waiting { // the folder's name is another one
		delete(second.waiting, i)
		second.waiting[filepath.Base(filepath.Dir(i))] = w
	}
	for i, w := range first.waiting {
		delete(first.waiting, i)
		first.waiting[filepath.Base(filepath.Dir(i))] = w
	}
	share := second.Since(first)
	assert.True(t, share.Known)
	assert.InDelta(t, 0.95, share.Own, 1e-9)
	assert.InDelta(t, 1.0, share.Taken, 1e-9)
	assert.InDelta(t, 0.5, share.Waiting, 1e-9, "0.7 s of thread 7, 0.3 of the new one, nothing of the one that ended")
}

func TestCPUsThatMayNotBeUsedDoNotCount(t *testing.T) {
	r := readFrom(write(t, "cpu0 100 0 0 0 0 0 0 0\ncpu1 200 0 0 0 0 0 0 0\n", nil), func(cpu int) bool { return cpu == 1 })
	assert.Equal(t, 1, r.cpus)
	assert.Equal(t, 2*time.Second, r.busy)
}

func TestWithoutProcNothingIsKnown(t *testing.T) {
	r := readFrom(t.TempDir(), func(int) bool { return true })
	later := r
	later.at = r.at.Add(time.Second)
	assert.Equal(t, Share{}, later.Since(r))
	assert.Equal(t, Share{}, r.Since(r), "no time has passed")
}

// A thread of this process and another process that want the same CPU each get a part of it.
func TestABusyNeighbourIsSeen(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a CPU for a second")
	}
	var cpus unix.CPUSet
	require.NoError(t, unix.SchedGetaffinity(0, &cpus))
	one := 0
	for !cpus.IsSet(one) {
		one++
	}
	runtime.LockOSThread() // not unlocked: the thread, which keeps to a CPU, ends with the test
	var set unix.CPUSet
	set.Set(one)
	require.NoError(t, unix.SchedSetaffinity(0, &set))
	neighbour := exec.CommandContext(t.Context(), "sh", "-c", "while :; do :; done") // on the same CPU, as this thread starts it
	require.NoError(t, neighbour.Start())
	defer func() {
		_ = neighbour.Process.Kill()
		_ = neighbour.Wait() // it was killed
	}()
	began, before := time.Now(), Read()
	for time.Since(began) < time.Second {
	}
	share := Read().Since(before)
	if share.Waiting == 0 {
		t.Skip("this system does not tell how long threads wait")
	}
	assert.Greater(t, share.Waiting, 0.15, "%+v", share)
	assert.Greater(t, share.Taken, 0.1, "%+v", share)
	assert.Less(t, share.Own, 0.95, "%+v", share)
}
