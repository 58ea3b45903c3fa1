package safetensors

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// container puts a length prefix before header and data after it.
func container(header, data string) string {
	return string(binary.LittleEndian.AppendUint64(nil, uint64(len(header)))) + header + data
}

// one is a file of one tensor "a" with this dtype, shape and offsets.
func one(dtype, shape, offsets, data string) string {
	return container(`{"a":{"dtype":`+dtype+`,"shape":`+shape+`,"data_offsets":`+offsets+`}}`, data)
}

// two is a file of two U8 tensors with these sizes and offsets.
func two(na, a, nb, b, data string) string {
	return container(`{"a":{"dtype":"U8","shape":[`+na+`],"data_offsets":`+a+
		`},"b":{"dtype":"U8","shape":[`+nb+`],"data_offsets":`+b+`}}`, data)
}

const good = `"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}`

// attacks are files that must be refused, and how.
var attacks = []struct{ name, file, want string }{
	// The length prefix.
	{"empty", "", "0 bytes are too few: the length of the header alone takes 8"},
	{"short prefix", "\x02\x00\x00\x00\x00\x00\x00", "7 bytes are too few: the length of the header alone takes 8"},
	{"no header", "\x02\x00\x00\x00\x00\x00\x00\x00", "byte 0: the header's length is 2, but only 0 bytes follow"},
	{"header cut", container(`{`+good+`}`, "12")[:30], "byte 0: the header's length is 53, but only 22 bytes follow"},
	{"header beyond the limit", "\x01\xe1\xf5\x05\x00\x00\x00\x00{}", "byte 0: the header's length is 100000001, the limit is 100000000: is this a safetensors file?"},
	{"header of 2^64-1", "\xff\xff\xff\xff\xff\xff\xff\xff{}", "byte 0: the header's length is 18446744073709551615, the limit is 100000000: is this a safetensors file?"},
	{"header of 2^63", "\x00\x00\x00\x00\x00\x00\x00\x80{}", "byte 0: the header's length is 9223372036854775808, the limit is 100000000: is this a safetensors file?"},
	{"git-lfs pointer", "version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "byte 0: this is a git-lfs pointer: fetch the file itself (git lfs pull)"},
	{"web page", "<!DOCTYPE html><html>", "byte 0: this is an HTML page: the download went to a web page"},
	{"zip", "PK\x03\x04\x00\x00\x08\x08\x00\x00", "byte 0: this is a zip archive, as .pth files are"},

	// The JSON.
	{"header of nothing", container("", ""), "byte 8: the JSON ends too early"},
	{"header of spaces", container("   ", ""), "byte 11: the JSON ends too early"},
	{"not an object", container("[]", ""), "byte 8: the header must be an object, found an array"},
	{"null", container("null", ""), "byte 8: the header must be an object, found null"},
	{"number", container("1e999", ""), "byte 8: the header must be an object, found 1e999"},
	{"unclosed", container(`{`+good, "12"), "byte 60: the JSON ends too early"},
	{"unclosed string", container(`{"a`, ""), "byte 11: the JSON ends too early"},
	{"text after", container(`{}x`, ""), "byte 10: the header goes on after its closing brace"},
	{"zero byte after", container("{} \x00", ""), "byte 11: the header goes on after its closing brace"},
	{"two objects", container("{}{}", ""), "byte 10: the header goes on after its closing brace"},
	{"trailing comma", container(`{`+good+`,}`, "12"), `byte 61: not JSON: invalid character '}' looking for beginning of object key string`},
	{"missing comma", container(`{`+good+`"b":1}`, "12"), `byte 60: not JSON: invalid character '"' after object key:value pair`},
	{"bare key", container(`{a:1}`, ""), `byte 9: not JSON: invalid character 'a'`},
	{"control character", container("{\"a\nb\":1}", ""), `byte 9: not JSON: invalid character '\n' in string literal`},
	{"byte order mark", container("\xef\xbb\xbf{}", ""), `byte 8: not JSON: invalid character 'ï' looking for beginning of value`},
	{"name not UTF-8", container("{\"\xff\":{}}", ""), `byte 9: the string "�" is not valid Unicode`},
	{"name half a surrogate", container(`{"\ud800":{}}`, ""), `byte 9: the string "�" is not valid Unicode`},
	{"duplicate tensor", container(`{`+good+`,`+good+`}`, "12"), `byte 61: the key "a" is there twice`},
	{"duplicate by escape", container(`{`+good+`,`+strings.Replace(good, "a", `\u0061`, 1)+`}`, "12"), `byte 61: the key "a" is there twice`},
	{"duplicate field", one(`"U8","dtype":"F32"`, "[2]", "[0,2]", "12"), `byte 27: tensor "a": the key "dtype" is there twice`},
	{"deep nesting", container(`{"a":{"x":`+strings.Repeat("[", 20000)+strings.Repeat("]", 20000)+`}}`, ""), `byte 18: tensor "a": not JSON: invalid character '[' exceeded max depth`},

	// __metadata__.
	{"metadata no object", container(`{"__metadata__":[]}`, ""), "byte 24: the value of __metadata__ must be an object, found an array"},
	{"metadata number", container(`{"__metadata__":{"k":1}}`, ""), `byte 29: "k" in the value of __metadata__ must be a string, found 1`},
	{"metadata object", container(`{"__metadata__":{"k":{}}}`, ""), `byte 29: "k" in the value of __metadata__ must be a string, found an object`},
	{"metadata duplicate key", container(`{"__metadata__":{"k":"1","k":"2"}}`, ""), `byte 33: the key "k" is there twice in the value of __metadata__`},
	{"metadata twice", container(`{"__metadata__":{},"__metadata__":{}}`, ""), `byte 27: the key "__metadata__" is there twice`},

	// One tensor.
	{"tensor no object", container(`{"a":"U8"}`, ""), `byte 13: tensor "a": a tensor's description must be an object, found the string "U8"`},
	{"tensor as array", container(`{"a":["U8",[1],[0,1]]}`, "1"), `byte 13: tensor "a": a tensor's description must be an object, found an array`},
	{"no dtype", container(`{"a":{"shape":[],"data_offsets":[0,1]}}`, "1"), `tensor "a": has no dtype`},
	{"no shape", container(`{"a":{"dtype":"U8","data_offsets":[0,1]}}`, "1"), `tensor "a": has no shape`},
	{"no offsets", container(`{"a":{"dtype":"U8","shape":[]}}`, "1"), `tensor "a": has no data_offsets`},
	{"unknown dtype", one(`"FLOAT"`, "[2]", "[0,2]", "12"), `tensor "a": dtype "FLOAT" is not one of the format's`},
	{"lower-case dtype", one(`"f32"`, "[1]", "[0,4]", "1234"), `tensor "a": dtype "f32" is not one of the format's`},
	{"endless dtype", one(`"`+strings.Repeat("F", 1000)+`"`, "[2]", "[0,2]", "12"), `tensor "a": dtype "` + strings.Repeat("F", 200) + `"... (1000 bytes) is not one of the format's`},
	{"dtype a number", one(`32`, "[1]", "[0,4]", "1234"), `byte 22: tensor "a": dtype must be a string, found 32`},
	{"wrong dtype", one(`"F32"`, "[2]", "[0,4]", "1234"), `tensor "a": F32 of shape [2] takes 8 bytes, but data_offsets [0, 4] hold 4`},
	{"shape no array", one(`"U8"`, "2", "[0,2]", "12"), `byte 35: tensor "a": shape must be an array, found 2`},
	{"shape of strings", one(`"U8"`, `["2"]`, "[0,2]", "12"), `byte 36: tensor "a": shape must hold numbers, found the string "2"`},
	{"negative dimension", one(`"U8"`, "[-1]", "[0,2]", "12"), `byte 36: tensor "a": shape must hold whole numbers from 0 to 9223372036854775807, found -1`},
	{"two negatives", one(`"U8"`, "[-1,-2]", "[0,2]", "12"), `byte 36: tensor "a": shape must hold whole numbers from 0 to 9223372036854775807, found -1`},
	{"negative zero", one(`"U8"`, "[-0]", "[0,0]", ""), `byte 36: tensor "a": shape must hold whole numbers from 0 to 9223372036854775807, found -0`},
	{"fraction", one(`"U8"`, "[2.0]", "[0,2]", "12"), `byte 36: tensor "a": shape must hold whole numbers from 0 to 9223372036854775807, found 2.0`},
	{"exponent", one(`"U8"`, "[2e0]", "[0,2]", "12"), `byte 36: tensor "a": shape must hold whole numbers from 0 to 9223372036854775807, found 2e0`},
	{"NaN", one(`"U8"`, "[NaN]", "[0,2]", "12"), `byte 36: tensor "a": not JSON: invalid character 'N' looking for beginning of value`},
	{"2^63", one(`"U8"`, "[9223372036854775808]", "[0,2]", "12"), `byte 36: tensor "a": shape must hold whole numbers from 0 to 9223372036854775807, found 9223372036854775808`},
	{"number without end", one(`"U8"`, "["+strings.Repeat("9", 500)+"]", "[0,2]", "12"), `byte 36: tensor "a": shape must hold whole numbers from 0 to 9223372036854775807, found ` + strings.Repeat("9", 40) + `...`},
	{"product wraps to the size", one(`"U8"`, "[4294967296,4294967296]", "[0,0]", ""), `tensor "a": shape [4294967296 4294967296] of U8 overflows a 64-bit count of bits`},
	{"bytes wrap to the size", one(`"F64"`, "[2305843009213693952]", "[0,0]", ""), `tensor "a": shape [2305843009213693952] of F64 overflows a 64-bit count of bits`},
	{"overflow behind a zero", one(`"U8"`, "[0,4294967296,4294967296]", "[0,0]", ""), `tensor "a": shape [0 4294967296 4294967296] of U8 overflows a 64-bit count of bits`},
	{"half a byte", one(`"F4"`, "[3]", "[0,2]", "12"), `tensor "a": shape [3] of F4 does not fill whole bytes`},
	{"65 dimensions", one(`"U8"`, "["+strings.Repeat("1,", 64)+"1]", "[0,1]", "1"), `byte 164: tensor "a": shape must hold at most 64 numbers`},

	// Offsets.
	{"offsets no array", one(`"U8"`, "[2]", `{"begin":0}`, "12"), `byte 54: tensor "a": data_offsets must be an array, found an object`},
	{"one offset", one(`"U8"`, "[2]", "[0]", "12"), `tensor "a": data_offsets must be two numbers, begin and end, found 1`},
	{"three offsets", one(`"U8"`, "[2]", "[0,2,2]", "12"), `byte 59: tensor "a": data_offsets must hold at most 2 numbers`},
	{"negative offset", one(`"U8"`, "[2]", "[-2,0]", "12"), `byte 55: tensor "a": data_offsets must hold whole numbers from 0 to 9223372036854775807, found -2`},
	{"end before begin", one(`"U8"`, "[2]", "[2,0]", "12"), `tensor "a": data_offsets [2, 0] end before they begin`},
	{"past the end", one(`"U8"`, "[2]", "[0,2]", "1"), `tensor "a": data_offsets [0, 2] reach past the end of the file, which has 1 bytes of data: truncated?`},
	{"far past the end", one(`"U8"`, "[2]", "[9223372036854775805,9223372036854775807]", "12"), `tensor "a": data_offsets [9223372036854775805, 9223372036854775807] reach past the end of the file, which has 2 bytes of data: truncated?`},
	{"empty past the end", one(`"U8"`, "[0]", "[3,3]", "12"), `tensor "a": data_offsets [3, 3] reach past the end of the file, which has 2 bytes of data: truncated?`},
	{"same bytes twice", two("2", "[0,2]", "2", "[0,2]", "12"), `tensor "b": data_offsets [0, 2] overlap those of tensor "a", which end at 2`},
	{"overlap by one", two("2", "[0,2]", "2", "[1,3]", "123"), `tensor "b": data_offsets [1, 3] overlap those of tensor "a", which end at 2`},
	{"overlap, later first", two("2", "[1,3]", "2", "[0,2]", "123"), `tensor "a": data_offsets [1, 3] overlap those of tensor "b", which end at 2`},
	{"empty inside another", two("2", "[0,2]", "0", "[1,1]", "12"), `tensor "b": data_offsets [1, 1] overlap those of tensor "a", which end at 2`},
	{"hole at the start", one(`"U8"`, "[2]", "[1,3]", "123"), `tensor "a": data_offsets [1, 3] leave a hole: the data before ends at 0`},
	{"hole between", two("1", "[0,1]", "1", "[2,3]", "123"), `tensor "b": data_offsets [2, 3] leave a hole: the data before ends at 1`},
	{"bytes after", one(`"U8"`, "[2]", "[0,2]", "123"), `1 bytes of data belong to no tensor: the tensors end at 2, the data at 3`},
	{"data without tensors", container("{}", "1"), `1 bytes of data belong to no tensor: the tensors end at 0, the data at 1`},
}

func TestAttacks(t *testing.T) {
	require.GreaterOrEqual(t, len(attacks), 40)
	dir := t.TempDir()
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			path := filepath.Join(dir, "attack.safetensors")
			require.NoError(t, os.WriteFile(path, []byte(a.file), 0o600))
			f, err := Open(path)
			require.Nil(t, f)
			require.EqualError(t, err, path+": "+a.want)
			require.IsType(t, &Error{}, err)
			_, err = Parse(path, []byte(a.file))
			require.EqualError(t, err, path+": "+a.want)
		})
	}
}

// TestEveryCut checks that no proper beginning of a file opens.
func TestEveryCut(t *testing.T) {
	whole, err := os.ReadFile("testdata/dtypes.safetensors")
	require.NoError(t, err)
	for n := range whole {
		_, err := Parse("cut", whole[:n])
		require.Error(t, err, "first %d bytes", n)
	}
	_, err = Parse("whole", whole)
	require.NoError(t, err)
}

func TestTooManyTensors(t *testing.T) {
	var b strings.Builder
	b.WriteByte('{')
	for i := range maxTensors + 1 {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(appendTensor(nil, Info{Name: string(rune(0x20000+i%0x10000)) + string(rune(0x30000+i>>16)), DType: U8, Shape: []int{0}}, 0, 0))
	}
	b.WriteByte('}')
	_, err := Parse("many", []byte(container(b.String(), "")))
	require.ErrorContains(t, err, "more than 262144 tensors")
}

// TestAccepted lists what is unusual but right: the reference opens these too.
func TestAccepted(t *testing.T) {
	for _, a := range []struct {
		name, file string
		tensors    []string
	}{
		{"no tensors", container("{}", ""), []string{}},
		{"space around", container(" \n{ } \t\r\n", ""), []string{}},
		{"null metadata", container(`{"__metadata__":null,`+good+`}`, "12"), []string{"a"}},
		{"unknown field", container(`{"a":{"x":[{}],"dtype":"U8","shape":[2],"data_offsets":[0,2]}}`, "12"), []string{"a"}},
		{"empty before and after", two("0", "[0,0]", "0", "[0,0]", ""), []string{"a", "b"}},
		{"empty at the end", two("2", "[0,2]", "0", "[2,2]", "12"), []string{"a", "b"}},
		{"later first", two("2", "[2,4]", "2", "[0,2]", "1234"), []string{"b", "a"}},
		{"replacement character", container(`{"\ufffd�":{"dtype":"U8","shape":[],"data_offsets":[0,1]}}`, "1"), []string{"��"}},
		{"surrogate pair", container(`{"\ud83d\ude00":{"dtype":"U8","shape":[],"data_offsets":[0,1]}}`, "1"), []string{"😀"}},
	} {
		t.Run(a.name, func(t *testing.T) {
			f, err := Parse("file", []byte(a.file))
			require.NoError(t, err)
			require.Equal(t, a.tensors, f.Names())
		})
	}
}

func TestNotAFile(t *testing.T) {
	dir := t.TempDir()
	_, err := Open(filepath.Join(dir, "missing"))
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = Open(dir)
	require.EqualError(t, err, "open "+dir+": not a regular file")
	pipe := filepath.Join(dir, "pipe")
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	_, err = Open(pipe)
	require.EqualError(t, err, "open "+pipe+": not a regular file")
}
