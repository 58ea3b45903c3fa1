package torch_test

import (
	"fmt"
	"os"
	"runtime/debug"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	soakSteps  = 10_000
	soakWarm   = 1_000
	soakGrowth = 1 << 20 // bytes that resident memory may grow by after the first soakWarm steps
)

// resident is the process's resident memory in bytes, after Go gave back what it does not use: what remains to grow is
// native memory and what Go holds on to.
func resident(t *testing.T) int {
	debug.FreeOSMemory()
	text, err := os.ReadFile("/proc/self/statm")
	require.NoError(t, err)
	var size, pages int
	_, err = fmt.Sscan(string(text), &size, &pages)
	require.NoError(t, err)
	return pages * os.Getpagesize()
}

// soak trains one toy network on each goroutine; all wait for each other after soakWarm steps and at the end.
func soak(t *testing.T, goroutines int) {
	before := live()
	var warm, done, measured sync.WaitGroup
	warm.Add(goroutines)
	measured.Add(1)
	for i := range goroutines {
		done.Go(func() {
			n := newToy(uint64(i))
			defer n.close()
			for step := range soakSteps {
				if step == soakWarm {
					warm.Done()
					measured.Wait()
				}
				n.step()
			}
		})
	}
	warm.Wait()
	held, start := live(), resident(t)
	assert.Equal(t, before+int64(6*goroutines), held, "x, y and four parameters each")
	measured.Done()
	done.Wait()
	grown := resident(t) - start
	assert.Equal(t, before, live())
	assert.Less(t, grown, soakGrowth, "resident memory grew by %d bytes from step %d to %d", grown, soakWarm, soakSteps)
	t.Logf("%d goroutines: resident memory %.1f MB after %d steps, %+d bytes after %d more", goroutines,
		float64(start)/(1<<20), soakWarm, grown, soakSteps-soakWarm)
}

func TestSoak(t *testing.T) {
	if testing.Short() {
		t.Skip("10,000 steps")
	}
	soak(t, 1)
}

func TestSoakOnEightGoroutines(t *testing.T) {
	if testing.Short() {
		t.Skip("10,000 steps each")
	}
	soak(t, 8)
}
