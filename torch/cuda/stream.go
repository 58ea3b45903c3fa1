package cuda

import (
	"runtime"
	"time"

	"github.com/thaw-ml/thaw/torch/internal/capi"
)

// Stream is a queue of work on a device: what it is given runs in order, beside what other streams are given. Streams
// come from a pool of 32 a device, so they need not be closed, and the 33rd is the first again. The zero Stream is the
// default stream of device 0, on which everything runs until told otherwise.
type Stream struct{ s capi.CUDAStream }

// StreamOptions say what stream is wanted.
type StreamOptions struct {
	Device       int  // Current for the current one
	HighPriority bool // its kernels go first where the device has a choice
}

// NewStream takes a stream from the pool.
func NewStream(o StreamOptions) (Stream, error) {
	s, err := capi.NewCUDAStream(o.Device, o.HighPriority)
	return Stream{s}, wrap("stream", err)
}

// CurrentStream is the stream of a device that the calling goroutine's work goes to.
func CurrentStream(device int) (Stream, error) {
	s, err := capi.CurrentCUDAStream(device)
	return Stream{s}, wrap("stream", err)
}

// WithStream runs f with s and its device current. It fails, without running f, where s cannot be entered; f's panics
// go on. Nothing is waited for: order what lies before and behind with [Stream.WaitFor].
func WithStream(s Stream, f func()) (err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	exit, failure := s.s.Enter()
	if failure != nil {
		return wrap("stream", failure)
	}
	defer func() {
		if e := exit(); e != nil && err == nil {
			err = wrap("stream", e)
		}
	}()
	f()
	return nil
}

// Device is the index of the stream's device.
func (s Stream) Device() int { return int(s.s.Device) }

// isDefault reports whether s is the default stream of its device.
func (s Stream) isDefault() bool { return s.s.ID == 0 }

// Synchronize waits until all that s was given is done.
func (s Stream) Synchronize() error { return wrap("stream", s.s.Synchronize()) }

// Done reports whether all that s was given is done.
func (s Stream) Done() (bool, error) {
	done, err := s.s.Query()
	return done, wrap("stream", err)
}

// WaitFor makes what s is given from now on wait for all that other was given so far. It returns at once.
func (s Stream) WaitFor(other Stream) error {
	e, err := NewEvent(EventOptions{Device: other.Device()})
	if err != nil {
		return err
	}
	defer e.Close()
	if err := e.Record(other); err != nil {
		return err
	}
	return e.Block(s)
}

// Event is a mark in a stream. It is to be closed.
type Event struct{ e capi.CUDAEvent }

// EventOptions say what event is wanted.
type EventOptions struct {
	Device int  // Current for the current one
	Timing bool // it takes the time, for [Event.Since]; without, it costs less
}

// NewEvent makes an event that is not recorded yet: waiting for it waits for nothing.
func NewEvent(o EventOptions) (*Event, error) {
	e, err := capi.NewCUDAEvent(o.Device, o.Timing)
	if err != nil {
		return nil, wrap("event", err)
	}
	return &Event{e}, nil
}

// open refuses the nil, the zero and the closed Event.
func (e *Event) open() error {
	if e == nil || e.e == 0 {
		return &Error{Op: "event", Msg: "the event is closed, or was not made by NewEvent"}
	}
	return nil
}

// Record marks the place behind all that s was given so far, on the event's device. An event may be recorded again.
func (e *Event) Record(s Stream) error {
	if err := e.open(); err != nil {
		return err
	}
	return wrap("event", e.e.Record(s.s))
}

// Block makes what s is given from now on wait for the mark. It returns at once.
func (e *Event) Block(s Stream) error {
	if err := e.open(); err != nil {
		return err
	}
	return wrap("event", e.e.Block(s.s))
}

// Synchronize waits for the mark.
func (e *Event) Synchronize() error {
	if err := e.open(); err != nil {
		return err
	}
	return wrap("event", e.e.Synchronize())
}

// Done reports whether the mark is reached.
func (e *Event) Done() (bool, error) {
	if err := e.open(); err != nil {
		return false, err
	}
	done, err := e.e.Query()
	return done, wrap("event", err)
}

// Since waits for e and gives the time on the device from start's mark to e's, to about half a microsecond. Both are
// made with Timing.
func (e *Event) Since(start *Event) (time.Duration, error) {
	if err := e.open(); err != nil {
		return 0, err
	}
	if err := start.open(); err != nil {
		return 0, err
	}
	ms, err := e.e.Elapsed(start.e)
	return time.Duration(float64(ms) * float64(time.Millisecond)), wrap("event", err)
}

// Close frees the event; what waits for it goes on waiting. Closing it again does nothing.
func (e *Event) Close() {
	if e != nil && e.e != 0 {
		e.e.Free()
		e.e = 0
	}
}
