package torch

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"unsafe"

	"github.com/thaw-ml/thaw/torch/internal/capi"
	"github.com/thaw-ml/thaw/torch/safetensors"
)

// Named is a tensor with its key in a checkpoint.
type Named struct {
	Name   string
	Tensor Tensor
}

// Checkpoint is an open file of weights. Tensors are read from the file's memory map when they are asked for.
type Checkpoint struct{ file *safetensors.File }

// OpenCheckpoint opens a .safetensors file, or the model.safetensors.index.json of a sharded one.
func OpenCheckpoint(path string) (*Checkpoint, error) {
	open := safetensors.Open
	switch {
	case strings.HasSuffix(path, ".index.json"):
		open = safetensors.OpenSharded
	case filepath.Ext(path) == ".bin", filepath.Ext(path) == ".pth", filepath.Ext(path) == ".pt":
		return nil, fmt.Errorf("%s: pickled checkpoints are not read yet: save it as safetensors (safetensors.torch.save_file in Python)", path)
	}
	f, err := open(path)
	if err != nil {
		return nil, err
	}
	return &Checkpoint{f}, nil
}

// Path is the file that was opened.
func (c *Checkpoint) Path() string { return c.file.Path() }

// Names lists the keys in the order of the file.
func (c *Checkpoint) Names() []string { return c.file.Names() }

// Metadata is the file's own string map.
func (c *Checkpoint) Metadata() map[string]string { return c.file.Metadata() }

// Close unmaps the file. Tensors that were read stay.
func (c *Checkpoint) Close() error { return c.file.Close() }

// Shape gives a tensor's shape without reading it, and whether there is one of that name.
func (c *Checkpoint) Shape(name string) ([]int, bool) {
	info, ok := c.file.Tensor(name)
	return info.Shape, ok
}

// DType gives a tensor's dtype without reading it; a dtype that libtorch lacks, or no such tensor, is an error.
func (c *Checkpoint) DType(name string) (DType, error) {
	_, dtype, err := c.lookup(name)
	return dtype, err
}

// Tensor copies a tensor into native memory.
func (c *Checkpoint) Tensor(name string) (Tensor, error) {
	info, dtype, err := c.lookup(name)
	if err != nil {
		return Tensor{}, err
	}
	var t Tensor
	err = Try(func() { t = FromBytes(info.Data, dtype, info.Shape...) })
	if err != nil {
		return Tensor{}, fmt.Errorf("%s: tensor %q: %w", c.Path(), name, err)
	}
	return t, nil
}

// CopyTo writes a tensor's elements into dst, of the same shape, converting the dtype where they differ.
func (c *Checkpoint) CopyTo(name string, dst Tensor) error {
	info, dtype, err := c.lookup(name)
	if err != nil {
		return err
	}
	err = Try(func() {
		if shape := dst.Shape(); !slices.Equal(shape, info.Shape) { // copying would broadcast
			panic(&Error{Op: "copy_", Msg: sprintf("its shape is %v, not %v", info.Shape, shape)})
		}
		if len(info.Data) == 0 {
			return
		}
		src := view(info, dtype)
		defer src.Close()
		NoGrad(func() { dst.Copy_(src) }) // is over when it returns, and the map outlives it
	})
	if err != nil {
		return fmt.Errorf("%s: tensor %q: %w", c.Path(), name, err)
	}
	return nil
}

// view is a tensor over the mapped bytes, or a copy of them where they lie at an odd address.
func view(info safetensors.Info, dtype DType) Tensor {
	if !info.Aligned() {
		return FromBytes(info.Data, dtype, info.Shape...)
	}
	sizes := make([]int64, len(info.Shape))
	for i, s := range info.Shape {
		sizes[i] = int64(s)
	}
	h, scope, err := capi.FromBlob(unsafe.Pointer(unsafe.SliceData(info.Data)), dtype.native(), sizes)
	if err != nil {
		panic(failed("from_blob", err))
	}
	return adopt(h, scope)
}

func (c *Checkpoint) lookup(name string) (safetensors.Info, DType, error) {
	info, ok := c.file.Tensor(name)
	if !ok {
		return info, 0, fmt.Errorf("%s: no tensor is named %q", c.Path(), name)
	}
	dtype, ok := stored[info.DType]
	if !ok {
		return info, 0, fmt.Errorf("%s: tensor %q: elements of type %s are not supported; there are %v", c.Path(), name, info.DType, DTypes)
	}
	return info, dtype, nil
}

// The dtypes by their names in the format.
var stored = map[safetensors.DType]DType{
	safetensors.Bool: Bool, safetensors.U8: Uint8, safetensors.I8: Int8, safetensors.I16: Int16,
	safetensors.I32: Int32, safetensors.I64: Int64, safetensors.F16: Float16, safetensors.BF16: BFloat16,
	safetensors.F32: Float32, safetensors.F64: Float64,
}

func storedAs(d DType) safetensors.DType {
	for name, dtype := range stored {
		if dtype == d {
			return name
		}
	}
	return ""
}

// SaveCheckpoint writes tensors as safetensors, atomically: the file is there whole, or not at all.
func SaveCheckpoint(path string, tensors []Named, metadata map[string]string) error {
	infos := make([]safetensors.Info, len(tensors))
	byName := make(map[string]Tensor, len(tensors))
	for i, t := range tensors {
		err := Try(func() {
			infos[i] = safetensors.Info{Name: t.Name, Shape: t.Tensor.Shape(), DType: storedAs(t.Tensor.DType())}
		})
		if err != nil {
			return fmt.Errorf("write %s: tensor %q: %w", path, t.Name, err)
		}
		byName[t.Name] = t.Tensor
	}
	return safetensors.WriteFunc(path, infos, metadata, func(info safetensors.Info) (data []byte, err error) {
		err = Try(func() { data = byName[info.Name].Bytes() })
		return data, err
	})
}
