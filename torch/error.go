package torch

import (
	"errors"
	"fmt"
	"strings"

	"github.com/thaw-ml/thaw/torch/internal/capi"
)

// ErrorKind is the sort of a failure.
type ErrorKind int

// The kinds.
const (
	OtherError         ErrorKind = iota
	OutOfMemory                  // an allocation failed
	IndexError                   // an index is out of range
	UnimplementedError           // no kernel for this dtype or device
)

// Error is what tensor operations panic with.
type Error struct {
	Op     string // the operator, as in "aten::add.Tensor"
	Kind   ErrorKind
	Shapes [][]int  // of the tensors it was given, in order
	DTypes []DType  // of the same tensors
	Device []Device // of the same tensors
	Msg    string
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op + ": " + e.Msg)
	for i, shape := range e.Shapes {
		if i == 0 {
			b.WriteString(" (given ")
		} else {
			b.WriteString(", ")
		}
		if i < len(e.DTypes) {
			b.WriteString(e.DTypes[i].String() + " ")
		}
		b.WriteString(strings.ReplaceAll(fmt.Sprint(shape), " ", ", "))
		if i < len(e.Device) && e.Device[i] != CPU {
			b.WriteString(" on " + e.Device[i].String())
		}
		if i == len(e.Shapes)-1 {
			b.WriteString(")")
		}
	}
	return b.String()
}

// ErrOutOfMemory is what errors.Is finds in every error that an allocation failed, on the CPU or on a GPU: an [*Error]
// of the kind [OutOfMemory], also wrapped.
var ErrOutOfMemory = errors.New("out of memory")

// Is reports whether target is [ErrOutOfMemory] and e of its kind.
func (e *Error) Is(target error) bool { return target == ErrOutOfMemory && e.Kind == OutOfMemory }

// Try runs f and returns the *Error that a tensor operation in it panicked with. Other panics go on.
func Try(f func()) (err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case *Error:
			err = p
		default:
			panic(p)
		}
	}()
	f()
	return nil
}

// TryErr runs f and returns its error, or the [*Error] that a tensor operation in it panicked with. Other panics go on.
func TryErr(f func() error) error {
	var err error
	if failure := Try(func() { err = f() }); failure != nil {
		return failure
	}
	return err
}

// failed makes the Error of a failure that libtorch reported.
func failed(op string, err *capi.Error, given ...capi.Handle) *Error {
	e := &Error{Op: op, Msg: strings.TrimSpace(err.Msg)}
	switch err.Kind {
	case capi.KindMemory:
		e.Kind = OutOfMemory
		// libtorch goes on with its own account of the memory, and advice for Python.
		e.Msg, _, _ = strings.Cut(e.Msg, " Of the allocated memory")
	case capi.KindIndex:
		e.Kind = IndexError
	case capi.KindUnimplemented:
		e.Kind = UnimplementedError
		// libtorch goes on with a list of every backend it knows.
		e.Msg, _, _ = strings.Cut(e.Msg, ". This could be because")
	}
	if strings.Contains(e.Msg, "DefaultCPUAllocator: can't allocate memory") {
		e.Kind = OutOfMemory // the CPU's allocator throws no c10::OutOfMemoryError
	}
	for _, h := range given {
		var info capi.Info
		if h == 0 || capi.Describe(h, &info) != nil {
			continue
		}
		shape := make([]int, info.Dim)
		for i, s := range info.Sizes() {
			shape[i] = int(s)
		}
		e.Shapes = append(e.Shapes, shape)
		e.DTypes = append(e.DTypes, dtypeOf(info.DType))
		e.Device = append(e.Device, deviceOf(info.DeviceType, info.DeviceIndex))
	}
	if strings.Contains(e.Msg, "with arguments from the 'CUDA' backend") {
		e.Msg = "this program has no CUDA kernels: build it with -tags cuda (thaw doctor says what is missing)"
	}
	return e
}

func sprintf(format string, args ...any) string { return fmt.Sprintf(format, args...) }
