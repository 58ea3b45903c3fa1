package torch_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
)

// threadsOfProcess counts the threads of this process.
func threadsOfProcess(t *testing.T) int {
	entries, err := os.ReadDir("/proc/self/task")
	require.NoError(t, err)
	return len(entries)
}

// Not to spin is a team of threads that sleep, so the switch is seen by their number. What is computed is the same.
func TestSetSpinning(t *testing.T) {
	product := func() (sum float64) {
		torch.Scoped(func() {
			a := torch.Arange(0, 512*512, torch.CPU).To(torch.Float32).View(512, 512).Sin()
			sum = a.MatMul(a).Sum().Item()
		})
		return sum
	}
	want := product()
	before := threadsOfProcess(t)
	for range 20 { // teams that end are forgotten, or threads would add up
		require.NoError(t, torch.SetSpinning(false))
		require.NoError(t, torch.SetSpinning(false))
		assert.Equal(t, want, product())
		assert.Greater(t, threadsOfProcess(t), before)
		require.NoError(t, torch.SetSpinning(true))
		assert.Equal(t, want, product())
	}
	assert.LessOrEqual(t, threadsOfProcess(t), before+4, "the Go runtime may have started some")
}
