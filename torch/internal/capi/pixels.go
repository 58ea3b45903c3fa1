package capi

/*
#cgo noescape thaw_resize_rows
#cgo nocallback thaw_resize_rows
#cgo noescape thaw_resize_columns
#cgo nocallback thaw_resize_columns
#include "capi.h"
*/
import "C"

import "unsafe"

// PixelsFast reports whether ResizeRows and ResizeColumns can be used.
func PixelsFast() bool { return C.thaw_pixels_fast() != 0 }

// PixelsBeyond is what ResizeRows needs behind a row.
const PixelsBeyond = C.THAW_PIXELS_BEYOND

// ResizeRows makes rows of len(first) pixels of rows of so many columns, see capi.h. Lengths are the caller's to check.
func ResizeRows(to []byte, toStride int, from []byte, fromStride int, spare []byte, rows, columns int, first, count []int32, weights []uint32) {
	C.thaw_resize_rows(samples(to), C.int64_t(toStride), samples(from), C.int64_t(fromStride), C.int64_t(len(from)), samples(spare),
		C.int64_t(rows), C.int64_t(columns), numbers(first), numbers(count), (*C.uint32_t)(unsafe.SliceData(weights)),
		C.int64_t(len(first)))
}

// ResizeColumns makes len(first) rows of n samples, 16 at least, see capi.h. Lengths are the caller's to check.
func ResizeColumns(to []byte, toStride int, from []byte, fromStride, n int, first, count []int32, weights []uint32) {
	C.thaw_resize_columns(samples(to), C.int64_t(toStride), samples(from), C.int64_t(fromStride), C.int64_t(n), numbers(first),
		numbers(count), (*C.uint32_t)(unsafe.SliceData(weights)), C.int64_t(len(first)))
}

func samples(s []byte) *C.uint8_t { return (*C.uint8_t)(unsafe.SliceData(s)) }

func numbers(s []int32) *C.int32_t { return (*C.int32_t)(unsafe.SliceData(s)) }

// Normalise makes numbers [N, 3, height, width], channels-last, of pictures [N, height, width, 3]: times factor plus offset.
func Normalise(pixels, factor, offset Handle) (Handle, int32, *Error) {
	var out C.thaw_tensor
	var scope C.int32_t
	err := failure(C.thaw_normalise(C.thaw_tensor(pixels), C.thaw_tensor(factor), C.thaw_tensor(offset), &out, &scope))
	return Handle(out), int32(scope), err
}
