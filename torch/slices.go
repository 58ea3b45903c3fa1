package torch

import (
	"math"
	"reflect"
	"runtime"
	"unsafe"

	"github.com/thaw-ml/thaw/torch/internal/capi"
)

// F16 is an IEEE 754 half as its bits.
type F16 uint16

// BF16 is a bfloat16 as its bits: the upper half of a float32.
type BF16 uint16

// Element is a Go type that tensors are made from and read into. int stands for int64.
type Element interface {
	float32 | float64 | F16 | BF16 | int8 | int16 | int32 | int64 | int | uint8 | bool
}

// DTypeOf is the dtype of a Go type.
func DTypeOf[T Element]() DType {
	var zero T
	switch any(zero).(type) {
	case float32:
		return Float32
	case float64:
		return Float64
	case F16:
		return Float16
	case BF16:
		return BFloat16
	case int8:
		return Int8
	case int16:
		return Int16
	case int32:
		return Int32
	case uint8:
		return Uint8
	case bool:
		return Bool
	}
	return Int64
}

// FromSlice makes a CPU tensor with a copy of data, in row-major order. Without a shape it is a vector; one length may
// be -1 and follows from the rest.
func FromSlice[T Element](data []T, shape ...int) Tensor {
	sizes := sizesFor(len(data), shape)
	h, scope, err := capi.FromBytes(unsafe.Pointer(unsafe.SliceData(data)), len(data)*int(unsafe.Sizeof(*new(T))),
		DTypeOf[T]().native(), sizes)
	if err != nil {
		panic(failed("from_slice", err))
	}
	return adopt(h, scope)
}

// sizesFor checks that n elements fill the shape.
func sizesFor(n int, shape []int) []int64 {
	if len(shape) == 0 {
		return []int64{int64(n)}
	}
	sizes := make([]int64, len(shape))
	known, open := 1, -1
	for i, s := range shape {
		sizes[i] = int64(s)
		switch {
		case s >= 0:
			known *= s
		case s == -1 && open < 0:
			open = i
		default:
			known = -1 << 40
		}
	}
	if open >= 0 && known > 0 && n%known == 0 {
		sizes[open] = int64(n / known)
		known = n
	}
	if known != n {
		panic(&Error{Op: "from_slice", Msg: sprintf("%d elements do not fill the shape %v", n, shape)})
	}
	return sizes
}

// FromScalar makes a CPU tensor without dimensions.
func FromScalar[T Element](v T) Tensor {
	h, scope, err := capi.FromBytes(unsafe.Pointer(&v), int(unsafe.Sizeof(v)), DTypeOf[T]().native(), nil)
	if err != nil {
		panic(failed("from_scalar", err))
	}
	return adopt(h, scope)
}

// FromBytes makes a CPU tensor with a copy of raw element bytes in the machine's order.
func FromBytes(data []byte, dtype DType, shape ...int) Tensor {
	sizes := make([]int64, len(shape))
	for i, s := range shape {
		sizes[i] = int64(s)
	}
	h, scope, err := capi.FromBytes(unsafe.Pointer(unsafe.SliceData(data)), len(data), dtype.native(), sizes)
	if err != nil {
		panic(failed("from_bytes", err))
	}
	return adopt(h, scope)
}

// ToSlice copies the elements in row-major order into a new slice. The dtype must be T's: convert with To first.
func ToSlice[T Element](t Tensor) []T {
	out := make([]T, t.Numel())
	CopyToSlice(t, out)
	return out
}

// CopyToSlice copies the elements in row-major order into dst, which has their number and type.
func CopyToSlice[T Element](t Tensor, dst []T) {
	var info capi.Info
	t.describe("to_slice", &info)
	if want := DTypeOf[T](); dtypeOf(info.DType) != want {
		panic(&Error{Op: "to_slice", Shapes: [][]int{t.Shape()}, DTypes: []DType{dtypeOf(info.DType)},
			Msg: sprintf("a slice of %v cannot hold it: convert with To(torch.%v) or ask for another type",
				reflect.TypeFor[T](), goNameOf(want))})
	}
	copyBytes(t, unsafe.Pointer(unsafe.SliceData(dst)), len(dst)*int(unsafe.Sizeof(*new(T))))
}

func goNameOf(d DType) string {
	switch d {
	case BFloat16:
		return "BFloat16"
	case Bool:
		return "Bool"
	}
	s := d.String()
	return string(s[0]-'a'+'A') + s[1:]
}

// SharedBytes gives the memory of a contiguous tensor on the CPU itself, to be read and written: what writes there is
// seen by the tensor and by all that share its memory. It must not be touched once the tensor is freed. nil for a
// tensor without elements.
func (t Tensor) SharedBytes() []byte {
	p := t.ptr("shared_bytes")
	data, n, err := capi.ElementMemory(p)
	if err != nil {
		panic(failed("shared_bytes", err, p))
	}
	runtime.KeepAlive(t.h)
	return unsafe.Slice((*byte)(data), n)
}

// SharedSlice is SharedBytes as elements. The dtype must be T's.
func SharedSlice[T Element](t Tensor) []T {
	if got, want := t.DType(), DTypeOf[T](); got != want {
		panic(&Error{Op: "shared_slice", Shapes: [][]int{t.Shape()}, DTypes: []DType{got},
			Msg: sprintf("its memory is no slice of %v", reflect.TypeFor[T]())})
	}
	shared := t.SharedBytes()
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(shared))), len(shared)/int(unsafe.Sizeof(*new(T))))
}

// Bytes copies the raw element bytes, in row-major order and the machine's byte order.
func (t Tensor) Bytes() []byte {
	out := make([]byte, t.NBytes())
	copyBytes(t, unsafe.Pointer(unsafe.SliceData(out)), len(out))
	return out
}

func copyBytes(t Tensor, dst unsafe.Pointer, n int) {
	p := t.ptr("to_slice")
	if err := capi.ToBytes(p, dst, n); err != nil {
		panic(failed("to_slice", err, p))
	}
	t.keepAlive()
}

// Item is the only element, as a float64.
func (t Tensor) Item() float64 {
	if n := t.Numel(); n != 1 {
		panic(&Error{Op: "item", Shapes: [][]int{t.Shape()}, DTypes: []DType{t.DType()},
			Msg: sprintf("a tensor of %d elements is no single number", n)})
	}
	var v float64
	c := t.To(Float64)
	copyBytes(c, unsafe.Pointer(&v), 8)
	if !c.Same(t) {
		c.Close()
	}
	return v
}

// ItemInt is the only element, as an int.
func (t Tensor) ItemInt() int {
	if d := t.DType(); d.IsFloat() {
		return int(t.Item())
	}
	if n := t.Numel(); n != 1 {
		panic(&Error{Op: "item", Shapes: [][]int{t.Shape()}, DTypes: []DType{t.DType()},
			Msg: sprintf("a tensor of %d elements is no single number", n)})
	}
	var v int64
	c := t.To(Int64)
	copyBytes(c, unsafe.Pointer(&v), 8)
	if !c.Same(t) {
		c.Close()
	}
	return int(v)
}

// Float32 converts exactly.
func (h BF16) Float32() float32 { return math.Float32frombits(uint32(h) << 16) }

// ToBF16 rounds to the nearest bfloat16, ties to even.
func ToBF16(f float32) BF16 {
	b := math.Float32bits(f)
	if f != f {
		return 0x7fc0
	}
	return BF16((b + 0x7fff + b>>16&1) >> 16)
}

// ToF16 rounds to the nearest half, ties to even; what is too large becomes infinite.
func ToF16(f float32) F16 {
	b := math.Float32bits(f)
	sign, b := F16(b>>16&0x8000), b&0x7fffffff
	switch {
	case b > 0x7f800000: // not a number
		return sign | 0x7e00
	case b >= 0x477ff000: // 65520 and above
		return sign | 0x7c00
	case b < 0x38800000: // below 2^-14, where halves have a fixed step of 2^-24
		return sign | F16(math.RoundToEven(float64(math.Float32frombits(b))*(1<<24)))
	}
	return sign | F16((b-112<<23+0xfff+b>>13&1)>>13)
}

// Float32 converts exactly.
func (h F16) Float32() float32 {
	sign, exponent, fraction := uint32(h>>15)<<31, uint32(h>>10&0x1f), uint32(h&0x3ff)
	switch {
	case exponent == 0x1f:
		return math.Float32frombits(sign | 0xff<<23 | fraction<<13)
	case exponent == 0:
		f := float32(fraction) / (1 << 24)
		return math.Float32frombits(sign | math.Float32bits(f))
	}
	return math.Float32frombits(sign | (exponent+112)<<23 | fraction<<13)
}
