package train

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A run that waits for another's turn on the GPU ends where its context does; no GPU is needed to wait for one.
func TestWaitingForATurnEnds(t *testing.T) {
	gpuLock.taken <- struct{}{} // another run has it
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		ended <- (&gpu{}).Within(ctx, func() error { return errors.New("it began out of turn") })
	}()
	cancel()
	err := <-ended
	<-gpuLock.taken
	assert.ErrorIs(t, err, context.Canceled)
	assert.ErrorContains(t, err, "waiting for another run")
}

// One holds a lock at a time, whoever asks for it, and its holder cannot wait for itself.
func TestLock(t *testing.T) {
	l := newLock("the drill")
	var holders, most atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			for range 200 {
				assert.NoError(t, l.Within(t.Context(), func() error {
					most.Store(max(most.Load(), holders.Add(1)))
					runtime.Gosched()
					holders.Add(-1)
					return nil
				}))
			}
		})
	}
	all.Wait()
	assert.Equal(t, int32(1), most.Load())

	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	failure := errors.New("broken")
	require.ErrorIs(t, l.Within(t.Context(), func() error {
		err := l.Within(t.Context(), func() error { return errors.New("it began within itself") })
		assert.ErrorContains(t, err, "the drill is in use by the call that this one was made from")
		return failure
	}), failure)
	func() {
		defer func() { assert.Equal(t, "out", recover()) }()
		_ = l.Within(t.Context(), func() error { panic("out") })
	}()
	assert.NoError(t, l.Within(t.Context(), func() error { return nil }), "a panic gives it back")
}
