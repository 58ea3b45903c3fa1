// Package capi is the only cgo package: the Go side of capi.h, thin and without opinions.
//
// Functions that can fail return an [*Error]; handles are plain numbers, owned by the caller. What the numbers mean,
// when they are freed and how errors read is the business of package torch.
package capi

/*
#cgo CXXFLAGS: -std=c++20 -O2 -g0 -fopenmp -Wall -Wno-unused-function -Wno-sign-compare -Wno-maybe-uninitialized -D_GLIBCXX_USE_CXX11_ABI=1
#cgo CXXFLAGS: -I${SRCDIR}/../../../third_party/libtorch/include -I${SRCDIR}/../../../third_party/libtorch/include/torch/csrc/api/include
#cgo CXXFLAGS: -I${SRCDIR}/../../../../thaw-libtorch-2.11.0/include -I${SRCDIR}/../../../../thaw-libtorch-2.11.0/include/torch/csrc/api/include
#cgo LDFLAGS: -L${SRCDIR}/../../../third_party/libtorch/lib -Wl,-rpath,${SRCDIR}/../../../third_party/libtorch/lib
#cgo LDFLAGS: -L${SRCDIR}/../../../../thaw-libtorch-2.11.0/lib -Wl,-rpath,${SRCDIR}/../../../../thaw-libtorch-2.11.0/lib
#cgo LDFLAGS: -Wl,--disable-new-dtags -ltorch_cpu -lc10 -l:libgomp.so.1 -lstdc++ -Wl,--allow-shlib-undefined
#cgo noescape thaw_call
#cgo nocallback thaw_call
#cgo noescape thaw_call_tensors
#cgo nocallback thaw_call_tensors
#cgo noescape thaw_tensors_free
#cgo nocallback thaw_tensors_free
#cgo noescape thaw_tensor_sizes
#cgo nocallback thaw_tensor_sizes
#cgo nocallback thaw_tensor_ndim
#cgo noescape thaw_tensor_describe
#cgo nocallback thaw_tensor_describe
#cgo noescape thaw_tensor_from_bytes
#cgo nocallback thaw_tensor_from_bytes
#cgo noescape thaw_tensor_to_bytes
#cgo nocallback thaw_tensor_to_bytes
#cgo noescape thaw_backward
#cgo nocallback thaw_backward
#cgo noescape thaw_tensor_grad
#cgo nocallback thaw_tensor_grad
#include <stdlib.h>
#include "capi.h"
*/
import "C"

import (
	"strings"
	"unsafe"
)

// Handle is a tensor that its holder owns one reference to; 0 is the undefined tensor.
type Handle = uintptr

// Kind says what sort of failure libtorch reported.
type Kind byte

// The kinds of failure.
const (
	KindOther         Kind = C.THAW_ERR_OTHER
	KindMemory        Kind = C.THAW_ERR_MEMORY
	KindIndex         Kind = C.THAW_ERR_INDEX
	KindUnimplemented Kind = C.THAW_ERR_UNIMPLEMENTED
)

// Error is a failure that libtorch reported.
type Error struct {
	Kind Kind
	Msg  string
}

func (e *Error) Error() string { return e.Msg }

// failure takes over a message of the C side; nil stays nil.
func failure(msg *C.char) *Error {
	if msg == nil {
		return nil
	}
	s := takeString(msg)
	return &Error{Kind: Kind(s[0]), Msg: plain(s[1:])}
}

// plain takes from a CUDA error what libtorch says to everybody about every one.
func plain(msg string) string {
	for _, tail := range []string{
		"\nSearch for `cuda", "\nCUDA kernel errors might be asynchronously", "\nFor debugging consider",
		"\nCompile with `TORCH_USE_CUDA_DSA`",
		"\nDevice-side assert",
	} {
		msg, _, _ = strings.Cut(msg, tail)
	}
	return strings.TrimSpace(msg)
}

// takeString copies a malloc'd string and frees it; nil gives "".
func takeString(s *C.char) string {
	if s == nil {
		return ""
	}
	defer C.free(unsafe.Pointer(s))
	return C.GoString(s)
}

func flag(on bool) C.int32_t {
	if on {
		return 1
	}
	return 0
}

// handles views a slice of handles as C does.
func handles(h []Handle) *C.thaw_tensor { return (*C.thaw_tensor)(unsafe.Pointer(unsafe.SliceData(h))) }
