package torch

import "fmt"

// DType is the type of a tensor's elements. The zero DType means "not given".
type DType int8

// The dtypes. Their order is libtorch's c10::ScalarType plus one.
const (
	Uint8    DType = 0 + 1
	Int8     DType = 1 + 1
	Int16    DType = 2 + 1
	Int32    DType = 3 + 1
	Int64    DType = 4 + 1
	Float16  DType = 5 + 1
	Float32  DType = 6 + 1
	Float64  DType = 7 + 1
	Bool     DType = 11 + 1
	BFloat16 DType = 15 + 1
)

// DTypes lists every dtype, the narrow ones first.
var DTypes = []DType{Bool, Uint8, Int8, Int16, Int32, Int64, Float16, BFloat16, Float32, Float64}

var dtypeNames = map[DType]string{
	Bool: "bool", Uint8: "uint8", Int8: "int8", Int16: "int16", Int32: "int32", Int64: "int64",
	Float16: "float16", BFloat16: "bfloat16", Float32: "float32", Float64: "float64",
}

func dtypeOf(native int64) DType { return DType(native + 1) }

func (d DType) native() int64 { return int64(d) - 1 }

// String is PyTorch's name without "torch.".
func (d DType) String() string {
	if s, ok := dtypeNames[d]; ok {
		return s
	}
	if d == 0 {
		return "none"
	}
	return fmt.Sprintf("ScalarType(%d)", d.native())
}

// ParseDType reads a name as String gives it, with or without "torch.".
func ParseDType(s string) (DType, error) {
	if len(s) > 6 && s[:6] == "torch." {
		s = s[6:]
	}
	for d, name := range dtypeNames {
		if name == s {
			return d, nil
		}
	}
	return 0, fmt.Errorf("no dtype is named %q; there are %v", s, DTypes)
}

// Size is the size of an element in bytes.
func (d DType) Size() int {
	switch d {
	case Bool, Uint8, Int8:
		return 1
	case Int16, Float16, BFloat16:
		return 2
	case Int32, Float32:
		return 4
	case Int64, Float64:
		return 8
	}
	return 0
}

// IsFloat reports whether the elements are floating-point numbers.
func (d DType) IsFloat() bool {
	return d == Float16 || d == BFloat16 || d == Float32 || d == Float64
}
