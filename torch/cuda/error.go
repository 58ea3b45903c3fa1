package cuda

import "github.com/thaw-ml/thaw/torch/internal/capi"

// Error is a failure of this package's.
type Error struct {
	Op  string // what was being done, as in "graph capture"
	Msg string // what went wrong, and the fix where there is one
}

func (e *Error) Error() string { return "cuda: " + e.Op + ": " + e.Msg }

// wrap makes the error of a failure that libtorch reported; nil stays nil.
func wrap(op string, err *capi.Error) error {
	if err == nil {
		return nil
	}
	return &Error{Op: op, Msg: err.Msg}
}
