package serve

import (
	"errors"
	"fmt"
)

// ErrFull is the error of a request that came while Options.MaxQueue others waited. It is returned at once: an HTTP
// server answers 503 to it.
var ErrFull = errors.New("the queue is full")

// ErrClosed is the error of a request that came after Close or Shutdown, or that Shutdown's context left no time for.
var ErrClosed = errors.New("the server is closed")

// InputError is the error of an input that the model cannot encode: an HTTP server answers 400 to it.
type InputError struct{ Err error }

func (e *InputError) Error() string { return e.Err.Error() }

// Unwrap gives Err.
func (e *InputError) Unwrap() error { return e.Err }

// PanicError is the error of all requests of a batch in which the model panicked, and of a request that it panicked at
// when it encoded it. The server lives on. Its text has the stack, so it is for a log and not for clients.
type PanicError struct {
	Value any    // what was given to panic
	Stack []byte // of the panic, as debug.Stack gives it
}

func (e *PanicError) Error() string {
	return fmt.Sprintf("serve: the model panicked: %v\n\n%s", e.Value, e.Stack)
}

// Unwrap gives Value where that is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}
