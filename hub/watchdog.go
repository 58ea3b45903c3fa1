package hub

import (
	"context"
	"fmt"
	"time"
)

// watchdog ends a context when nothing happens for a while.
type watchdog struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
	stall  time.Duration
}

func watchFor(ctx context.Context, stall time.Duration) *watchdog {
	w := &watchdog{stall: stall}
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	w.timer = time.AfterFunc(stall, func() { w.cancel(stallError{stall}) })
	return w
}

// pet says that something happened.
func (w *watchdog) pet() { w.timer.Reset(w.stall) }

func (w *watchdog) stop() {
	w.timer.Stop()
	w.cancel(nil)
}

// cause is why what ended with err ended.
func (w *watchdog) cause(err error) error {
	if stalled, ok := context.Cause(w.ctx).(stallError); ok {
		return stalled
	}
	return err
}

type stallError struct{ after time.Duration }

func (e stallError) Error() string { return fmt.Sprintf("not a byte came for %v", e.after) }
