package safetensors

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

var keep = flag.String("keep", "", "leave what the golden tests write in this folder, for testdata/generate.py check")

// pattern is generate.py's: bytes 0, 1, 2, ... modulo 251, or modulo 2 for BOOL.
func pattern(name string, d DType, shape ...int) Info {
	n, err := d.ByteSize(shape)
	if err != nil {
		panic(err)
	}
	if shape == nil {
		shape = []int{}
	}
	modulus := 251
	if d == Bool {
		modulus = 2
	}
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(i % modulus)
	}
	return Info{Name: name, DType: d, Shape: shape, Data: data}
}

// goldens are the files that generate.py had the reference write, tensors in another order than the
// file's.
var goldens = []struct {
	name     string
	tensors  []Info
	metadata map[string]string
}{
	{"dtypes", []Info{
		pattern("x.bool", Bool, 2, 3), pattern("x.uint8", U8, 2, 3), pattern("x.int8", I8, 2, 3),
		pattern("x.int16", I16, 2, 3), pattern("x.int32", I32, 2, 3), pattern("x.int64", I64, 2, 3),
		pattern("x.float16", F16, 2, 3), pattern("x.bfloat16", BF16, 2, 3),
		pattern("x.float32", F32, 2, 3), pattern("x.float64", F64, 2, 3),
		pattern("x.complex64", C64, 2, 3), pattern("x.uint16", U16, 2, 3),
		pattern("x.uint32", U32, 2, 3), pattern("x.uint64", U64, 2, 3),
		pattern("x.float8_e4m3fn", F8_E4M3, 2, 3), pattern("x.float8_e5m2", F8_E5M2, 2, 3),
		pattern("x.float8_e8m0fnu", F8_E8M0, 2, 3), pattern("x.float8_e4m3fnuz", F8_E4M3FNUZ, 2, 3),
		pattern("x.float8_e5m2fnuz", F8_E5M2FNUZ, 2, 3),
		pattern("x.float4_e2m1fn_x2", F4, 2, 6), // torch counts pairs, the format elements
	}, nil},
	{"shapes", []Info{
		pattern("after_odd", Bool, 3), pattern("odd", U8, 5), pattern("deep", BF16, 1, 2, 1, 3, 1, 2),
		pattern("one", I64, 1), pattern("empty_inside", F16, 3, 0, 2), pattern("empty", F32, 0),
		pattern("scalar", F32),
	}, map[string]string{"format": "pt"}},
	{"names", []Info{
		pattern("é\u2028\u0001\u007f/<>&'\"\\\n\b\f\r\t☃😀", F32, 1), pattern("a", F32, 1),
		pattern("Z", F32, 1), pattern("", F32, 1),
		pattern("encoder.layer.2.weight", F32, 2), pattern("encoder.layer.10.weight", F32, 2),
	}, map[string]string{"k\n\u001f": "v\"\u2029<"}},
	{"no_tensors", nil, nil},
	{"empty_metadata", []Info{pattern("a", U8)}, map[string]string{}},
}

func TestGoldenRead(t *testing.T) {
	for _, g := range goldens {
		t.Run(g.name, func(t *testing.T) {
			f, err := Open(filepath.Join("testdata", g.name+".safetensors"))
			require.NoError(t, err)
			defer f.Close()
			require.Equal(t, g.metadata, f.Metadata())
			require.Len(t, f.Names(), len(g.tensors))
			for _, want := range g.tensors {
				got, ok := f.Tensor(want.Name)
				require.True(t, ok, want.Name)
				require.True(t, got.Aligned(), want.Name)
				require.Equal(t, string(want.Data), string(got.Data), want.Name)
				got.Data = want.Data // equal, but an empty view is not an empty slice to Equal
				require.Equal(t, want, got)
			}
		})
	}
}

func TestGoldenWrite(t *testing.T) {
	dir := *keep
	if dir == "" {
		dir = t.TempDir()
	}
	for _, g := range goldens {
		t.Run(g.name, func(t *testing.T) {
			want, err := os.ReadFile(filepath.Join("testdata", g.name+".safetensors"))
			require.NoError(t, err)
			path := filepath.Join(dir, g.name+".safetensors")
			require.NoError(t, Write(path, g.tensors, g.metadata))
			got, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, string(want), string(got))
		})
	}
}

func TestNamesAreInFileOrder(t *testing.T) {
	f, err := Open("testdata/shapes.safetensors")
	require.NoError(t, err)
	defer f.Close()
	require.Equal(t, []string{"one", "empty", "scalar", "deep", "empty_inside", "odd", "after_odd"}, f.Names())
}
