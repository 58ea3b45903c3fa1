package torch

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unsafe"

	"github.com/thaw-ml/thaw/torch/internal/capi"
	"github.com/thaw-ml/thaw/torch/pth"
	"github.com/thaw-ml/thaw/torch/safetensors"
)

// Named is a tensor with its key in a checkpoint.
type Named struct {
	Name   string
	Tensor Tensor
}

// Checkpoint is an open file of weights. Tensors are read from the file's memory map when they are asked for.
type Checkpoint struct{ file weights }

// weights is what the packages of the file formats have in common here.
type weights interface {
	Path() string
	Names() []string
	Close() error
	metadata() map[string]string
	lookup(name string) (record, bool)
}

// record is one tensor of a file.
type record struct {
	shape  []int
	format string // the dtype's name in the format
	dtype  DType  // 0 where libtorch here has none
	bytes  func() []byte
	mapped bool // bytes is a view into the file's map, at a multiple of the element's size
}

// safetensorsFile and pthFile make weights of the formats' files.
type (
	safetensorsFile struct{ *safetensors.File }
	pthFile         struct{ *pth.File }
)

func (f safetensorsFile) metadata() map[string]string { return f.Metadata() }

func (f safetensorsFile) lookup(name string) (record, bool) {
	info, ok := f.Tensor(name)
	return record{info.Shape, string(info.DType), stored[info.DType], func() []byte { return info.Data }, info.Aligned()}, ok
}

func (pthFile) metadata() map[string]string { return nil }

func (f pthFile) lookup(name string) (record, bool) {
	info, ok := f.Tensor(name)
	dtype, _ := ParseDType(string(info.DType))
	return record{info.Shape, string(info.DType), dtype, info.Bytes, info.Contiguous() && info.Aligned()}, ok
}

// OpenCheckpoint opens a .safetensors file, the model.safetensors.index.json of a sharded one, or what torch.save wrote
// (.pth, .pt, .bin). The content decides, whatever the file's name. Of a training checkpoint of PyTorch, the tensors
// are those of its state dict; see the package torch/pth.
func OpenCheckpoint(path string) (*Checkpoint, error) {
	switch {
	case strings.HasSuffix(path, ".index.json"):
		f, err := safetensors.OpenSharded(path)
		return newCheckpoint(safetensorsFile{f}, err)
	case pickled(path):
		f, err := pth.Open(path)
		return newCheckpoint(pthFile{f}, err)
	}
	f, err := safetensors.Open(path)
	return newCheckpoint(safetensorsFile{f}, err)
}

func newCheckpoint(file weights, err error) (*Checkpoint, error) {
	if err != nil {
		return nil, err
	}
	return &Checkpoint{file}, nil
}

// pickled reports whether a file is for torch/pth, by its first bytes, or else by its name. A file that cannot be read
// is left to the package that will say so.
func pickled(path string) bool {
	named := slices.Contains([]string{".pth", ".pt", ".bin", ".ckpt"}, filepath.Ext(path))
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() { // a pipe would be waited for
		return named
	}
	f, err := os.Open(path)
	if err != nil {
		return named
	}
	defer f.Close()
	var start [16]byte
	n, err := io.ReadFull(f, start[:])
	if err != nil && n < 8 {
		return named
	}
	// A safetensors file begins with the length of its header, which may look like a pickle's first bytes, and a brace.
	if length := binary.LittleEndian.Uint64(start[:]); start[8] == '{' && length <= uint64(info.Size()) {
		return false
	}
	return named || pth.Sniff(start[:n])
}

// Path is the file that was opened.
func (c *Checkpoint) Path() string { return c.file.Path() }

// Names lists the keys in the order of the file.
func (c *Checkpoint) Names() []string { return c.file.Names() }

// Metadata is the file's own string map; nil of a file of PyTorch.
func (c *Checkpoint) Metadata() map[string]string { return c.file.metadata() }

// Close unmaps the file. Tensors that were read stay.
func (c *Checkpoint) Close() error { return c.file.Close() }

// Shape gives a tensor's shape without reading it, and whether there is one of that name.
func (c *Checkpoint) Shape(name string) ([]int, bool) {
	r, ok := c.file.lookup(name)
	return r.shape, ok
}

// DType gives a tensor's dtype without reading it; a dtype that libtorch lacks, or no such tensor, is an error.
func (c *Checkpoint) DType(name string) (DType, error) {
	r, err := c.lookup(name)
	return r.dtype, err
}

// Tensor copies a tensor into native memory.
func (c *Checkpoint) Tensor(name string) (Tensor, error) {
	r, err := c.lookup(name)
	if err != nil {
		return Tensor{}, err
	}
	var t Tensor
	err = Try(func() { t = FromBytes(r.bytes(), r.dtype, r.shape...) })
	if err != nil {
		return Tensor{}, fmt.Errorf("%s: tensor %q: %w", c.Path(), name, err)
	}
	return t, nil
}

// CopyTo writes a tensor's elements into dst, of the same shape, converting the dtype where they differ.
func (c *Checkpoint) CopyTo(name string, dst Tensor) error {
	r, err := c.lookup(name)
	if err != nil {
		return err
	}
	err = Try(func() {
		if shape := dst.Shape(); !slices.Equal(shape, r.shape) { // copying would broadcast
			panic(&Error{Op: "copy_", Msg: sprintf("its shape is %v, not %v", r.shape, shape)})
		}
		data := r.bytes()
		if len(data) == 0 {
			return
		}
		src := view(data, r)
		defer src.Close()
		NoGrad(func() { dst.Copy_(src) }) // is over when it returns, and the map outlives it
	})
	if err != nil {
		return fmt.Errorf("%s: tensor %q: %w", c.Path(), name, err)
	}
	return nil
}

// view is a tensor over a record's bytes, or a copy of them where they lie at an odd address or in Go's memory.
func view(data []byte, r record) Tensor {
	if !r.mapped {
		return FromBytes(data, r.dtype, r.shape...)
	}
	sizes := make([]int64, len(r.shape))
	for i, s := range r.shape {
		sizes[i] = int64(s)
	}
	h, scope, err := capi.FromBlob(unsafe.Pointer(unsafe.SliceData(data)), r.dtype.native(), sizes)
	if err != nil {
		panic(failed("from_blob", err))
	}
	return adopt(h, scope)
}

func (c *Checkpoint) lookup(name string) (record, error) {
	r, ok := c.file.lookup(name)
	if !ok {
		return r, fmt.Errorf("%s: no tensor is named %q", c.Path(), name)
	}
	if r.dtype == 0 {
		return r, fmt.Errorf("%s: tensor %q: elements of type %s are not supported; there are %v", c.Path(), name, r.format, DTypes)
	}
	return r, nil
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
