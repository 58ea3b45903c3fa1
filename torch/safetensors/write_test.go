package safetensors

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWriteRefuses(t *testing.T) {
	a := pattern("a", F32, 2)
	for _, c := range []struct {
		name     string
		tensors  []Info
		metadata map[string]string
		want     string
	}{
		{"duplicate", []Info{a, a}, nil, `tensor "a": is there twice`},
		{"duplicate of another dtype", []Info{a, pattern("b", I32), pattern("a", I64)}, nil, `tensor "a": is there twice`},
		{"reserved name", []Info{pattern("__metadata__", U8)}, nil, `tensor "__metadata__": the name is reserved`},
		{"name not UTF-8", []Info{pattern("\xff", U8)}, nil, `tensor "\xff": the name is not valid UTF-8`},
		{"metadata not UTF-8", nil, map[string]string{"k": "\xff"}, `metadata "k": not valid UTF-8`},
		{"unknown dtype", []Info{{Name: "a", DType: "F33"}}, nil, `tensor "a": dtype "F33" is not one of the format's`},
		{"negative", []Info{{Name: "a", DType: F32, Shape: []int{2, -1}}}, nil, `tensor "a": shape [2 -1] has a negative dimension`},
		{"overflow", []Info{{Name: "a", DType: F32, Shape: []int{1 << 62}}}, nil, `tensor "a": shape [4611686018427387904] of F32 overflows a 64-bit count of bits`},
		{"rank", []Info{{Name: "a", DType: F32, Shape: make([]int, 65)}}, nil, `tensor "a": 65 dimensions, the limit is 64`},
		{"bytes missing", []Info{{Name: "a", DType: F32, Shape: []int{2}, Data: make([]byte, 7)}}, nil, `tensor "a": F32 of shape [2] takes 8 bytes, got 7`},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "weights.safetensors")
			require.NoError(t, os.WriteFile(path, []byte("before"), 0o600))
			require.EqualError(t, Write(path, c.tensors, c.metadata), "write "+path+": "+c.want)
			requireOnly(t, path, "before")
		})
	}
}

// TestWriteFailsHalfWay has the bytes of the second tensor fail.
func TestWriteFailsHalfWay(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weights.safetensors")
	require.NoError(t, os.WriteFile(path, []byte("before"), 0o600))
	lost := errors.New("device lost")
	err := WriteFunc(path, []Info{pattern("a", F32, 1<<20), pattern("b", F32, 2)}, nil, func(i Info) ([]byte, error) {
		if i.Name == "b" {
			return nil, lost
		}
		return i.Data, nil
	})
	require.ErrorIs(t, err, lost)
	require.EqualError(t, err, "write "+path+`: tensor "b": device lost`)
	requireOnly(t, path, "before")
}

// TestWriteFuncReusesABuffer writes from one buffer, as a copy from a GPU does.
func TestWriteFuncReusesABuffer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weights.safetensors")
	buffer := make([]byte, 400_000)
	tensors := []Info{{Name: "a", DType: F32, Shape: []int{3}}, {Name: "b", DType: U8, Shape: []int{400_000}}}
	require.NoError(t, WriteFunc(path, tensors, nil, func(i Info) ([]byte, error) {
		n, err := i.DType.ByteSize(i.Shape)
		for k := range n {
			buffer[k] = i.Name[0]
		}
		return buffer[:n], err
	}))
	f, err := Open(path)
	require.NoError(t, err)
	defer f.Close()
	for _, want := range tensors {
		got, _ := f.Tensor(want.Name)
		for _, b := range got.Data {
			require.Equal(t, want.Name[0], b)
		}
	}
}

// TestWriteDoesNotCopy bounds what is allocated for a tensor of 64 MiB.
func TestWriteDoesNotCopy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weights.safetensors")
	big := pattern("big", U8, 64<<20)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	require.NoError(t, Write(path, []Info{big}, nil))
	runtime.ReadMemStats(&after)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<20))
}

func TestCloseTwice(t *testing.T) {
	f, err := Open("testdata/shapes.safetensors")
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.NoError(t, f.Close())
	_, ok := f.Tensor("one")
	require.False(t, ok)
}

// requireOnly checks that path holds content and that nothing lies beside it.
func requireOnly(t *testing.T, path, content string) {
	t.Helper()
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, content, string(got))
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, entries, 1)
}
