package capi

/*
#include <stdlib.h>
#include "capi.h"
*/
import "C"

import (
	"math"
	"unsafe"
)

// MaxArgs is more than any operator of libtorch takes or gives.
const MaxArgs = 24

// The tags of a [Value].
const (
	TagNone       = C.THAW_NONE
	TagTensor     = C.THAW_TENSOR
	TagInt        = C.THAW_INT
	TagDouble     = C.THAW_DOUBLE
	TagBool       = C.THAW_BOOL
	TagString     = C.THAW_STRING
	TagDevice     = C.THAW_DEVICE
	TagInts       = C.THAW_INTS
	TagDoubles    = C.THAW_DOUBLES
	TagBools      = C.THAW_BOOLS
	TagTensors    = C.THAW_TENSORS
	TagOptTensors = C.THAW_OPT_TENSORS
	TagScalars    = C.THAW_SCALARS
	TagGenerator  = C.THAW_GENERATOR
	TagDefault    = C.THAW_DEFAULT
)

// Value is one argument or result of an operator, as thaw_value lays it out.
type Value struct {
	Tag  int64
	Bits int64
}

// Float is the value of a TagDouble.
func (v Value) Float() float64 { return math.Float64frombits(uint64(v.Bits)) }

// Op is an operator that the dispatcher knows, found once and kept for good.
type Op uintptr

// FindOp looks an operator up, as in FindOp("aten::add", "Tensor").
func FindOp(name, overload string) (Op, *Error) {
	n, o := C.CString(name), C.CString(overload)
	defer C.free(unsafe.Pointer(n))
	defer C.free(unsafe.Pointer(o))
	var op C.thaw_op
	err := failure(C.thaw_op_find(n, o, &op))
	return Op(op), err
}

// Schema is the operator's signature as libtorch writes it.
func (o Op) Schema() (string, *Error) {
	var s *C.char
	err := failure(C.thaw_op_schema(C.thaw_op(o), &s))
	return takeString(s), err
}

// Overloads lists an operator's overload names, one a line, each behind a dot.
func Overloads(name string) (string, *Error) {
	n := C.CString(name)
	defer C.free(unsafe.Pointer(n))
	var s *C.char
	err := failure(C.thaw_op_overloads(n, &s))
	return takeString(s), err
}

// Call runs o on io[:nin], whose list arguments lie in lists, and leaves up to wanted results in io. It returns how
// many there are and the scope that the calling thread is in.
func (o Op) Call(io *[MaxArgs]Value, nin, wanted int, lists []int64) (n int, scope int32, err *Error) {
	var nout, current C.int32_t
	msg := C.thaw_call(C.thaw_op(o), (*C.thaw_value)(unsafe.Pointer(&io[0])), C.int64_t(nin), C.int64_t(wanted),
		(*C.int64_t)(unsafe.Pointer(unsafe.SliceData(lists))), &nout, &current)
	if msg != nil {
		return 0, 0, failure(msg)
	}
	return int(nout), int32(current), nil
}

// CallTensors runs an operator that begins with one or two tensors (b is 0 for one), takes its defaults for the rest
// and gives a tensor.
func (o Op) CallTensors(a, b Handle) (out Handle, scope int32, err *Error) {
	var t C.thaw_tensor
	var current C.int32_t
	if msg := C.thaw_call_tensors(C.thaw_op(o), C.thaw_tensor(a), C.thaw_tensor(b), &t, &current); msg != nil {
		return 0, 0, failure(msg)
	}
	return Handle(t), int32(current), nil
}

// TakeList copies the items of a list result and frees it.
func TakeList(v Value) []int64 {
	p := *(*unsafe.Pointer)(unsafe.Pointer(&v.Bits)) // an address of malloc's memory, not of Go's
	defer C.free(p)
	n := *(*int64)(p)
	out := make([]int64, n)
	copy(out, unsafe.Slice((*int64)(unsafe.Add(p, 8)), n))
	return out
}

// SwapScope makes id the calling thread's scope and returns the one before.
func SwapScope(id int32) int32 { return int32(C.thaw_scope_swap(C.int32_t(id))) }

// CurrentScope is the calling thread's scope, 0 for none.
func CurrentScope() int32 { return int32(C.thaw_scope_current()) }
