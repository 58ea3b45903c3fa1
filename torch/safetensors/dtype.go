package safetensors

import "fmt"

// DType is an element type by its name in the format, such as "F32".
type DType string

// The element types of the format. Those below C64 have no counterpart that Thaw computes with, but
// files that hold them open, and their bytes can be copied.
const (
	Bool DType = "BOOL" // one byte an element, 0 or 1
	U8   DType = "U8"
	I8   DType = "I8"
	I16  DType = "I16"
	I32  DType = "I32"
	I64  DType = "I64"
	F16  DType = "F16"
	BF16 DType = "BF16"
	F32  DType = "F32"
	F64  DType = "F64"

	C64         DType = "C64" // two F32
	U16         DType = "U16"
	U32         DType = "U32"
	U64         DType = "U64"
	F8_E5M2     DType = "F8_E5M2"
	F8_E4M3     DType = "F8_E4M3"
	F8_E8M0     DType = "F8_E8M0"
	F8_E4M3FNUZ DType = "F8_E4M3FNUZ"
	F8_E5M2FNUZ DType = "F8_E5M2FNUZ"
	F6_E2M3     DType = "F6_E2M3" // packed, 6 bits an element
	F6_E3M2     DType = "F6_E3M2" // packed, 6 bits an element
	F4          DType = "F4"      // packed, 4 bits an element
)

// layout lists every element type with its width, in ascending order of the enumeration in the
// reference implementation (safetensors 0.8.0, src/tensor.rs, Dtype). The order is part of the
// format as written: tensors lie in a file by descending position here, then by name.
var layout = []struct {
	dtype DType
	bits  int
}{
	{Bool, 8}, {F4, 4}, {F6_E2M3, 6}, {F6_E3M2, 6}, {U8, 8}, {I8, 8},
	{F8_E5M2, 8}, {F8_E4M3, 8}, {F8_E8M0, 8}, {F8_E4M3FNUZ, 8}, {F8_E5M2FNUZ, 8},
	{I16, 16}, {U16, 16}, {F16, 16}, {BF16, 16}, {I32, 32}, {U32, 32}, {F32, 32},
	{C64, 64}, {F64, 64}, {I64, 64}, {U64, 64},
}

var rank, bits = func() (map[DType]int, map[DType]int) {
	rank, bits := map[DType]int{}, map[DType]int{}
	for i, l := range layout {
		rank[l.dtype], bits[l.dtype] = i, l.bits
	}
	return rank, bits
}()

// Known reports whether d is an element type of the format.
func (d DType) Known() bool { return bits[d] != 0 }

// Bits returns the width of an element in bits, 0 for an unknown type.
func (d DType) Bits() int { return bits[d] }

// Size returns the width of an element in bytes; 0 for an unknown type and for the packed ones,
// whose elements are no whole bytes.
func (d DType) Size() int {
	if bits[d]%8 != 0 {
		return 0
	}
	return bits[d] / 8
}

// ByteSize returns the number of bytes that a tensor of this type and shape holds. It fails for an
// unknown type, a negative dimension, a packed tensor that ends within a byte, and when the count
// overflows. Overflow is judged without the zeros in shape, so that strides can be computed from
// every shape that passes.
func (d DType) ByteSize(shape []int) (int, error) {
	if !d.Known() {
		return 0, fmt.Errorf("dtype %q is not one of the format's", string(d))
	}
	const maxInt = int(^uint(0) >> 1)
	n, zero := 1, false
	for _, size := range shape {
		switch {
		case size < 0:
			return 0, fmt.Errorf("shape %v has a negative dimension", shape)
		case size == 0:
			zero = true
		case n > maxInt/size/bits[d]:
			return 0, fmt.Errorf("shape %v of %s overflows a 64-bit count of bits", shape, d)
		default:
			n *= size
		}
	}
	if zero {
		return 0, nil
	}
	if n*bits[d]%8 != 0 {
		return 0, fmt.Errorf("shape %v of %s does not fill whole bytes", shape, d)
	}
	return n * bits[d] / 8, nil
}
