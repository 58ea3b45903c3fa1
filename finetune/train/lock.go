package train

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
)

// lock lets one thread at a time use something that belongs to the whole process. It is an error, not a deadlock, when
// the holder asks for it again.
type lock struct {
	what   string
	taken  chan struct{}
	holder atomic.Int64 // the thread that has it, 0 for none
}

func newLock(what string) *lock { return &lock{what: what, taken: make(chan struct{}, 1)} }

// gpuLock: settings of GPUs and the workspaces of cuBLAS belong to the process.
var gpuLock = newLock("a GPU")

// TrainingLock lets one training run at a time draw from libtorch's default generators, which belong to the process:
// runs beside one another would not be reproducible.
var TrainingLock = newLock("the random generator of training")

// Within runs f while the calling thread holds the lock. The caller has locked its goroutine to the thread. While
// another thread holds it, ctx may end the wait.
func (l *lock) Within(ctx context.Context, f func() error) error {
	self := int64(syscall.Gettid())
	if l.holder.Load() == self {
		return errors.New(l.what + " is in use by the call that this one was made from: runs, and predictions on GPUs, take " +
			"turns, so begin none in a callback of another")
	}
	select {
	case l.taken <- struct{}{}:
		if err := ctx.Err(); err != nil { // of two that are ready, select takes any
			<-l.taken
			return err
		}
	case <-ctx.Done():
		return fmt.Errorf("waiting for another run to release %s: %w", l.what, ctx.Err())
	}
	l.holder.Store(self)
	defer func() {
		l.holder.Store(0)
		<-l.taken
	}()
	return f()
}
