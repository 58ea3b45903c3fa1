package torch

import (
	"slices"
	"unsafe"

	"github.com/thaw-ml/thaw/torch/internal/capi"
)

// FromMapped makes a CPU tensor over memory outside Go's heap, such as a mapped file's, without a copy: row-major
// elements in the machine's byte order, at a multiple of the element's size. The memory must stay until the tensor and
// all its views are freed. Where it cannot be written, a write to the tensor kills the process.
func FromMapped(data []byte, dtype DType, shape ...int) Tensor {
	sizes, elements := make([]int64, len(shape)), 1
	for i, s := range shape {
		sizes[i] = int64(s)
		elements *= s
	}
	size := dtype.Size()
	if elements*size != len(data) || slices.ContainsFunc(shape, func(s int) bool { return s < 0 }) {
		panic(&Error{Op: "from_blob", Shapes: [][]int{shape}, DTypes: []DType{dtype}, Msg: sprintf("%d bytes do not fill the shape", len(data))})
	}
	if len(data) == 0 {
		return FromBytes(nil, dtype, shape...)
	}
	start := unsafe.Pointer(unsafe.SliceData(data))
	if uintptr(start)%uintptr(size) != 0 {
		panic(&Error{Op: "from_blob", Shapes: [][]int{shape}, DTypes: []DType{dtype}, Msg: "the memory is not aligned to the elements"})
	}
	h, scope, err := capi.FromBlob(start, dtype.native(), sizes)
	if err != nil {
		panic(failed("from_blob", err))
	}
	return adopt(h, scope)
}
