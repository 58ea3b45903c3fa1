package pth

// DType is an element type by PyTorch's name, such as "float32".
type DType string

// The element types that are read. Those from Complex32 on have no counterpart that Thaw computes with, but files that
// hold them open, and their bytes can be copied.
const (
	Bool     DType = "bool" // one byte an element, 0 or 1
	Uint8    DType = "uint8"
	Int8     DType = "int8"
	Int16    DType = "int16"
	Int32    DType = "int32"
	Int64    DType = "int64"
	Float16  DType = "float16"
	BFloat16 DType = "bfloat16"
	Float32  DType = "float32"
	Float64  DType = "float64"

	Complex32      DType = "complex32" // two float16
	Complex64      DType = "complex64"
	Complex128     DType = "complex128"
	Uint16         DType = "uint16"
	Uint32         DType = "uint32"
	Uint64         DType = "uint64"
	Float8E4M3FN   DType = "float8_e4m3fn"
	Float8E5M2     DType = "float8_e5m2"
	Float8E4M3FNUZ DType = "float8_e4m3fnuz"
	Float8E5M2FNUZ DType = "float8_e5m2fnuz"
	Float8E8M0FNU  DType = "float8_e8m0fnu"
	Float4E2M1FNx2 DType = "float4_e2m1fn_x2" // two numbers a byte; PyTorch counts the bytes
)

var sizes = map[DType]int{
	Bool: 1, Uint8: 1, Int8: 1, Int16: 2, Int32: 4, Int64: 8, Float16: 2, BFloat16: 2, Float32: 4, Float64: 8,
	Complex32: 4, Complex64: 8, Complex128: 16, Uint16: 2, Uint32: 4, Uint64: 8, Float8E4M3FN: 1, Float8E5M2: 1,
	Float8E4M3FNUZ: 1, Float8E5M2FNUZ: 1, Float8E8M0FNU: 1, Float4E2M1FNx2: 1,
}

// Size returns the size of an element in bytes, 0 for an unknown type.
func (d DType) Size() int { return sizes[d] }

// storages names the element type of every class of torch whose storages torch.save writes; newer types are written as
// UntypedStorage, with the type beside it (torch 2.11, torch/storage.py, _dtype_to_storage_type_map and _new_dtypes).
var storages = map[string]DType{
	"DoubleStorage": Float64, "FloatStorage": Float32, "HalfStorage": Float16, "BFloat16Storage": BFloat16,
	"LongStorage": Int64, "IntStorage": Int32, "ShortStorage": Int16, "CharStorage": Int8, "ByteStorage": Uint8,
	"BoolStorage": Bool, "ComplexDoubleStorage": Complex128, "ComplexFloatStorage": Complex64, "UntypedStorage": Uint8,
}
