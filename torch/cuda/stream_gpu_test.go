package cuda_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/cuda"
	"github.com/thaw-ml/thaw/torch/torchtest"
)

// Work on a side stream that is not waited for would be seen half-done; with an event between, it is whole.
func TestStreamsAndEvents(t *testing.T) {
	needGPU(t)
	side, err := cuda.NewStream(cuda.StreamOptions{HighPriority: true})
	require.NoError(t, err)
	main, err := cuda.CurrentStream(0)
	require.NoError(t, err)
	require.NotEqual(t, main, side)
	start, err := cuda.NewEvent(cuda.EventOptions{Timing: true})
	require.NoError(t, err)
	defer start.Close()
	done, err := cuda.NewEvent(cuda.EventOptions{Timing: true})
	require.NoError(t, err)
	defer done.Close()

	torchtest.Scoped(t, func() {
		a := torch.Ones(f32, gpu, 2048, 2048)
		sum := torch.Zeros(f32, gpu, 2048, 2048)
		pinned := torch.Full([]int{2048, 2048}, 2, f32, cpu).PinMemory()
		require.NoError(t, side.WaitFor(main))
		require.NoError(t, cuda.WithStream(side, func() {
			current, err := cuda.CurrentStream(0)
			require.NoError(t, err)
			assert.Equal(t, side, current)
			require.NoError(t, start.Record(side))
			sum.CopyAsync_(pinned)
			for range 20 {
				sum.Copy_(a.MM(sum).MulScalar(1.0 / 2048)) // the mean of each column: 2 again
			}
			require.NoError(t, done.Record(side))
		}))
		current, err := cuda.CurrentStream(0)
		require.NoError(t, err)
		assert.Equal(t, main, current)
		require.NoError(t, done.Block(main))
		assert.InDelta(t, 2, sum.Mean().Item(), 1e-5)
		took, err := done.Since(start)
		require.NoError(t, err)
		assert.Greater(t, took, 100*time.Microsecond) // 20 products of 17 GFLOP: over 2 ms on any GPU of 2026
		finished, err := done.Done()
		require.NoError(t, err)
		assert.True(t, finished)
		finished, err = side.Done()
		require.NoError(t, err)
		assert.True(t, finished)
	})
	assert.PanicsWithValue(t, "mine", func() { _ = cuda.WithStream(side, func() { panic("mine") }) })
	current, err := cuda.CurrentStream(0)
	require.NoError(t, err)
	assert.Equal(t, main, current, "after a panic")
	untimed, err := cuda.NewEvent(cuda.EventOptions{})
	require.NoError(t, err)
	require.NoError(t, untimed.Record(main))
	_, err = done.Since(untimed)
	assert.Error(t, err)
	untimed.Close()
	assert.ErrorContains(t, untimed.Synchronize(), "closed")
}
