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
	bytes, err := residentBytes()
	require.NoError(t, err)
	return bytes
}

func residentBytes() (int, error) {
	debug.FreeOSMemory()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, err
	}
	var size, pages int
	_, err = fmt.Sscan(string(text), &size, &pages)
	return pages * os.Getpagesize(), err
}

// soak trains toy networks and fails when resident memory grows every time. A leak does; malloc's arenas, and the race
// detector's records of what Go allocates (2 MB after 10,000 steps, still 2 MB after 160,000), grow once.
func soak(t *testing.T, goroutines int) {
	const tries = 4
	grown := make([]int, 0, tries)
	for len(grown) < tries {
		grown = append(grown, train(t, goroutines))
		if grown[len(grown)-1] < soakGrowth {
			return
		}
	}
	assert.Fail(t, "a leak", "resident memory grew by %d bytes from step %d to %d", grown, soakWarm, soakSteps)
}

// train trains one toy network on each goroutine; all wait for each other after soakWarm steps and at the end. It gives
// the bytes that resident memory grew by in between.
func train(t *testing.T, goroutines int) int {
	// Go's heap reaches its size, and the race detector's shadow of it, within the first steps and not at its first 4 MB.
	defer debug.SetGCPercent(debug.SetGCPercent(10))
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
	t.Logf("%d goroutines: resident memory %.1f MB after %d steps, %+d bytes after %d more", goroutines,
		float64(start)/(1<<20), soakWarm, grown, soakSteps-soakWarm)
	return grown
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
