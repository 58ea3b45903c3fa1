package torch_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/torchtest"
)

const checkpointGolden = "testdata/checkpoint.safetensors"

// checkpointTensors are testdata/checkpoint.py's.
func checkpointTensors() []torch.Named {
	var tensors []torch.Named
	base := torch.FromSlice([]int{0, 1, 2, 3, 4, 100}, 2, 3)
	for _, d := range torch.DTypes {
		tensors = append(tensors, torch.Named{Name: "layer." + d.String(), Tensor: base.To(d)})
	}
	ramp := torch.FromSlice([]float32{0, 1, 2, 3, 4, 5}, 2, 3)
	special := torch.FromBytes([]byte{0, 0, 0x80, 0x7f, 0, 0, 0, 0x80, 1, 0, 0, 0}, torch.Float32, 3) // Inf, -0, 1e-45
	return append(tensors,
		torch.Named{Name: "transposed", Tensor: ramp.T()}, // not contiguous
		torch.Named{Name: "é", Tensor: special},
		torch.Named{Name: "empty", Tensor: torch.Zeros(torch.Float32, torch.CPU, 0, 3)},
		torch.Named{Name: "scalar", Tensor: torch.FromScalar[float32](-1.5)})
}

func TestSaveCheckpointWritesTheReferencesBytes(t *testing.T) {
	torchtest.Scoped(t, func() {
		path := filepath.Join(t.TempDir(), "x.safetensors")
		require.NoError(t, torch.SaveCheckpoint(path, checkpointTensors(), map[string]string{"format": "pt"}))
		want, err := os.ReadFile(checkpointGolden)
		require.NoError(t, err)
		got, err := os.ReadFile(path)
		require.NoError(t, err)
		assert.Equal(t, string(want), string(got))
	})
}

func TestCheckpointReadsTheReferencesFile(t *testing.T) {
	torchtest.Scoped(t, func() {
		c, err := torch.OpenCheckpoint(checkpointGolden)
		require.NoError(t, err)
		assert.Equal(t, checkpointGolden, c.Path())
		assert.Equal(t, map[string]string{"format": "pt"}, c.Metadata())
		want := checkpointTensors()
		require.Len(t, c.Names(), len(want))
		var read []torch.Tensor
		for _, w := range want {
			shape, ok := c.Shape(w.Name)
			require.True(t, ok, w.Name)
			assert.Equal(t, w.Tensor.Shape(), shape, w.Name)
			dtype, err := c.DType(w.Name)
			require.NoError(t, err)
			assert.Equal(t, w.Tensor.DType(), dtype)
			x, err := c.Tensor(w.Name)
			require.NoError(t, err)
			read = append(read, x)
			y := w.Tensor.ZerosLike()
			require.NoError(t, c.CopyTo(w.Name, y))
			assert.Equal(t, w.Tensor.Bytes(), y.Bytes(), w.Name)
		}
		require.NoError(t, c.Close())
		require.NoError(t, c.Close(), "again does nothing")
		for i, w := range want { // tensors outlive the file
			assert.Equal(t, w.Tensor.DType(), read[i].DType(), w.Name)
			assert.Equal(t, w.Tensor.Bytes(), read[i].Bytes(), w.Name)
		}
		_, ok := c.Shape("scalar")
		assert.False(t, ok)
	})
}

func TestCheckpointErrors(t *testing.T) {
	torchtest.Scoped(t, func() {
		c, err := torch.OpenCheckpoint(checkpointGolden)
		require.NoError(t, err)
		defer c.Close()
		_, err = c.Tensor("absent")
		assert.EqualError(t, err, checkpointGolden+`: no tensor is named "absent"`)
		_, err = c.DType("absent")
		assert.EqualError(t, err, checkpointGolden+`: no tensor is named "absent"`)
		x := torch.Zeros(torch.Float32, torch.CPU, 5)
		assert.EqualError(t, c.CopyTo("absent", x), checkpointGolden+`: no tensor is named "absent"`)
		assert.EqualError(t, c.CopyTo("scalar", x), checkpointGolden+`: tensor "scalar": copy_: its shape is [], not [5]`)
		assert.Equal(t, make([]float32, 5), torch.ToSlice[float32](x), "it is not broadcast")
		x.Close()
		assert.ErrorContains(t, c.CopyTo("scalar", x), checkpointGolden+`: tensor "scalar": `)
	})
	_, err := torch.OpenCheckpoint("testdata/absent.safetensors")
	assert.ErrorIs(t, err, os.ErrNotExist)
}

// TestCheckpointReadsPyTorchsFiles compares files of torch.save with a safetensors file of the same tensors.
func TestCheckpointReadsPyTorchsFiles(t *testing.T) {
	for _, name := range []string{"checkpoint.pth", "checkpoint_legacy.pth", "checkpoint_training.pth"} {
		torchtest.Scoped(t, func() {
			c, err := torch.OpenCheckpoint("testdata/" + name)
			require.NoError(t, err)
			defer c.Close()
			c = c.Unwrapped(func(key string) bool { return strings.HasPrefix(key, "layer.") }) // the training one's "module."
			want := checkpointTensors()
			assert.Nil(t, c.Metadata())
			require.Len(t, c.Names(), len(want)+1)
			for _, w := range want {
				shape, ok := c.Shape(w.Name)
				require.True(t, ok, w.Name)
				assert.Equal(t, w.Tensor.Shape(), shape, w.Name)
				dtype, err := c.DType(w.Name)
				require.NoError(t, err)
				assert.Equal(t, w.Tensor.DType(), dtype, w.Name)
				x, err := c.Tensor(w.Name)
				require.NoError(t, err)
				assert.Equal(t, w.Tensor.Bytes(), x.Bytes(), w.Name)
				y := w.Tensor.ZerosLike()
				require.NoError(t, c.CopyTo(w.Name, y))
				assert.Equal(t, w.Tensor.Bytes(), y.Bytes(), w.Name)
			}
			path := "testdata/" + name
			assert.EqualError(t, c.CopyTo("scalar", torch.Zeros(torch.Float32, torch.CPU, 5)), path+`: tensor "scalar": copy_: its shape is [], not [5]`)
			_, err = c.Tensor("absent")
			assert.EqualError(t, err, path+`: no tensor is named "absent"`)
			_, err = c.DType("complex")
			assert.ErrorContains(t, err, path+`: tensor "complex": elements of type complex64 are not supported; there are [bool `)
		})
	}
}

// TestCheckpointByContent opens files under the names of the other format.
func TestCheckpointByContent(t *testing.T) {
	dir := t.TempDir()
	copied := func(from, name string) string {
		data, err := os.ReadFile("testdata/" + from)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), data, 0o600))
		return filepath.Join(dir, name)
	}
	for _, path := range []string{copied("checkpoint.safetensors", "a.pth"), copied("checkpoint.pth", "a.safetensors"),
		copied("checkpoint_legacy.pth", "a.tar"), copied("checkpoint_legacy.pth", "a.bin")} {
		c, err := torch.OpenCheckpoint(path)
		require.NoError(t, err)
		_, ok := c.Shape("scalar")
		assert.True(t, ok)
		require.NoError(t, c.Close())
	}
	// A header of 640 bytes begins a safetensors file like a pickle of protocol 2.
	header := `{"__metadata__":{"pad":"` + strings.Repeat(" ", 640-27) + `"}}`
	path := filepath.Join(dir, "640")
	require.NoError(t, os.WriteFile(path, []byte("\x80\x02\x00\x00\x00\x00\x00\x00"+header), 0o600))
	c, err := torch.OpenCheckpoint(path)
	require.NoError(t, err)
	assert.Len(t, c.Metadata()["pad"], 613)
	require.NoError(t, c.Close())

	for name, want := range map[string]string{"empty.pt": "the file is empty", "page.bin": "this is an HTML page", "page.safetensors": "this is an HTML page"} {
		path := filepath.Join(dir, name)
		content := "<!DOCTYPE html>"
		if name == "empty.pt" {
			content = ""
		}
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		_, err := torch.OpenCheckpoint(path)
		assert.ErrorContains(t, err, path)
		assert.ErrorContains(t, err, want)
	}
	_, err = torch.OpenCheckpoint(filepath.Join(dir, "absent.pth"))
	assert.ErrorIs(t, err, os.ErrNotExist)
	_, err = torch.OpenCheckpoint(dir)
	assert.EqualError(t, err, "open "+dir+": not a regular file")
}

func TestSaveCheckpointLeavesWhatWasThere(t *testing.T) {
	torchtest.Scoped(t, func() {
		path := filepath.Join(t.TempDir(), "x.safetensors")
		x, closed := vector(1), vector(2)
		closed.Close()
		require.NoError(t, torch.SaveCheckpoint(path, []torch.Named{{Name: "x", Tensor: x}}, nil))
		before, err := os.ReadFile(path)
		require.NoError(t, err)
		for name, tensors := range map[string][]torch.Named{
			"is there twice":               {{Name: "x", Tensor: x}, {Name: "x", Tensor: x}},
			"an undefined tensor":          {{Name: "x", Tensor: torch.Tensor{}}},
			"the tensor was freed already": {{Name: "x", Tensor: x}, {Name: "y", Tensor: closed}},
			"the name is reserved":         {{Name: "__metadata__", Tensor: x}},
		} {
			err := torch.SaveCheckpoint(path, tensors, nil)
			assert.ErrorContains(t, err, name)
			assert.ErrorContains(t, err, path)
		}
		after, err := os.ReadFile(path)
		require.NoError(t, err)
		assert.Equal(t, before, after)
		files, err := os.ReadDir(filepath.Dir(path))
		require.NoError(t, err)
		assert.Len(t, files, 1, "no half-written file stays")
	})
}
