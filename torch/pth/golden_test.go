package pth

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// golden is what testdata/pth.py says of a file that torch.save wrote.
type golden struct {
	Others  []string
	Tensors [][6]any // name, dtype, shape, strides, offset, elements in hex
}

func goldens(t testing.TB) map[string]golden {
	t.Helper()
	raw, err := os.ReadFile("testdata/expect.json")
	require.NoError(t, err)
	var expect struct{ Files map[string]golden }
	require.NoError(t, json.Unmarshal(raw, &expect))
	require.Len(t, expect.Files, 24)
	return expect.Files
}

// TestGoldens compares every tensor of every file bit by bit.
func TestGoldens(t *testing.T) {
	for name, want := range goldens(t) {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join("testdata", name+".pth")
			f, err := Open(path)
			require.NoError(t, err)
			defer f.Close()
			assert.Equal(t, path, f.Path())
			assert.Equal(t, want.Others, append([]string{}, f.Others()...))
			require.Len(t, f.Names(), len(want.Tensors))
			for i, w := range want.Tensors {
				key := w[0].(string)
				assert.Equal(t, key, f.Names()[i])
				got, ok := f.Tensor(key)
				require.True(t, ok, key)
				assert.Equal(t, key, got.Name)
				assert.EqualValues(t, w[1], got.DType, key)
				assert.Equal(t, integers(w[2]), got.Shape, key)
				assert.Equal(t, integers(w[3]), got.Strides, key)
				assert.EqualValues(t, w[4], got.Offset, key)
				assert.Equal(t, w[5], hex.EncodeToString(got.Bytes()), key)
				dst := make([]byte, got.Len()*got.DType.Size()+1)
				assert.Equal(t, len(dst)-1, got.CopyTo(dst), key)
				assert.Equal(t, w[5].(string)+"00", hex.EncodeToString(dst), key)
				if name == "dtypes" || name == "views" { // 64 bytes, or what a part begins at
					assert.True(t, got.Aligned(), key)
				}
			}
		})
	}
}

func integers(v any) []int {
	out := []int{}
	for _, x := range v.([]any) {
		out = append(out, int(x.(float64)))
	}
	return out
}

func TestViews(t *testing.T) {
	for _, name := range []string{"views", "views_legacy"} {
		f, err := Open("testdata/" + name + ".pth")
		require.NoError(t, err)
		tensor := func(name string) Info {
			info, ok := f.Tensor(name)
			require.True(t, ok, name)
			return info
		}
		base, part := tensor("base"), tensor("part")
		assert.Same(t, &base.Data[20], &part.Data[0], "they share a storage, and neither is copied")
		assert.Same(t, &base.Data[0], &base.Bytes()[0])
		assert.Len(t, part.Data, 24, "from its first element to its last")
		assert.Len(t, tensor("strided").Data, 4*22)
		assert.Len(t, tensor("repeated").Data, 4)
		for name, want := range map[string]bool{"base": true, "matrix": true, "transposed": false, "strided": false, "expanded": false,
			"scalar": true, "item": true, "empty": true, "empty_inside": true, "ones": true, "rows": false, "overlapping": false} {
			assert.Equal(t, want, tensor(name).Contiguous(), name)
		}
		short := make([]byte, 9) // is filled, and no more
		assert.Equal(t, 9, tensor("transposed").CopyTo(short))
		assert.Equal(t, tensor("transposed").Bytes()[:9], short)
		_, ok := f.Tensor("absent")
		assert.False(t, ok)
		require.NoError(t, f.Close())
		require.NoError(t, f.Close(), "again does nothing")
		assert.Empty(t, f.Names())
	}
}

func TestOtherFiles(t *testing.T) {
	dir := t.TempDir()
	_, err := Open(filepath.Join(dir, "absent.pth"))
	assert.ErrorIs(t, err, os.ErrNotExist)
	_, err = Open(dir)
	assert.EqualError(t, err, "open "+dir+": not a regular file")
	empty := filepath.Join(dir, "empty.pth")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	_, err = Open(empty)
	assert.EqualError(t, err, empty+": the file is empty")
	for start, want := range map[string]bool{"PK\x03\x04": true, "\x80\x02\x8a": true, "\x80\x05": true, "\x80\x06": false,
		"L119547037146038801333356L\n": true, "PK": false, "": false, "@\x00\x00\x00\x00\x00\x00\x00{": false} {
		assert.Equal(t, want, Sniff([]byte(start)), "%q", start)
	}
	for content, want := range map[string]string{
		"version https://git-lfs.github.com/spec/v1\n": "; this is a git-lfs pointer: fetch the file itself (git lfs pull)",
		"<!DOCTYPE html>":                   "; this is an HTML page: the download went to a web page",
		"\x1f\x8b\x08":                      "; this is compressed by gzip",
		"GGUF":                              "; this is a GGUF file",
		"\x40\x00\x00\x00\x00\x00\x00\x00{": "; this is a safetensors file",
		strings.Repeat("a", 257) + "ustar":  "; this is a tar archive, PyTorch's format before 2017: load it in Python and save it again",
		"hello":                             "",
	} {
		_, err = Parse("x.pth", []byte(content))
		assert.EqualError(t, err, "x.pth: byte 0: neither a zip archive nor a pickle, as torch.save writes them"+want)
	}
}

// refusals are what torch.save wrote of things that are not read, and the errors.
var refusals = map[string]string{
	"module":        "module/data.pkl: byte 2: it asks for torch.nn.modules.linear.Linear: " + allowed,
	"module_legacy": "byte 153: it asks for torch.nn.modules.linear.Linear: " + allowed,
	"sparse":        "sparse/data.pkl: byte 13: it asks for torch._utils._rebuild_sparse_tensor: " + allowed,
	"meta":          "meta/data.pkl: byte 13: it asks for torch._utils._rebuild_meta_tensor_no_storage: " + allowed,
	"quantized":     "quantized/data.pkl: byte 13: it asks for torch._utils._rebuild_qtensor: " + allowed,
	"conjugate":     `conjugate/data.pkl: byte 180: tensor "a": its conj bit is set; save it after resolve_conj() and resolve_neg()`,
	"negated":       `negated/data.pkl: byte 172: tensor "a": its neg bit is set; save it after resolve_conj() and resolve_neg()`,
	"tensor":        "no tensors were found: it holds a tensor; " + places,
	"list":          "no tensors were found: it holds a list; " + places,
	"numbers":       `no tensors were found: it holds a dict of "epoch", "lr"; ` + places,
	"torchscript": "this is a TorchScript program (torch.jit.save), which is not read: " +
		"in Python, load it with torch.jit.load and save its weights: torch.save(model.state_dict(), path)",
}

const places = "looked there and under state_dict, model, model_state_dict, module, net, network, weights, params, ema, model_ema, state_dict_ema"

func TestRefused(t *testing.T) {
	for name, want := range refusals {
		t.Run(name, func(t *testing.T) {
			path := "testdata/refused/" + name + ".pth"
			f, err := Open(path)
			require.Nil(t, f)
			require.EqualError(t, err, path+": "+want)
			require.IsType(t, &Error{}, err)
		})
	}
	files, err := filepath.Glob("testdata/refused/*.pth")
	require.NoError(t, err)
	require.Len(t, files, len(refusals))
}
