// Package safetensors reads and writes the safetensors container: named tensors with their dtype,
// shape and bytes, and a small map of strings. It knows nothing of libtorch.
//
// A file is, in this order: the length of the header (8 bytes, little-endian), the header (JSON,
// usually padded with spaces to a multiple of 8), and the tensors' bytes, little-endian, row-major,
// without a gap. The format is described at https://github.com/huggingface/safetensors; where this
// package and the reference implementation (0.8.0) differ, this one is stricter: it refuses
// duplicate keys, which the reference lets the last of win, and shapes whose non-zero dimensions
// overflow.
package safetensors

import (
	"bytes"
	"errors"
	"unsafe"

	"github.com/thaw-ml/thaw/internal/filemap"
)

// Info is one tensor.
type Info struct {
	Name  string
	DType DType
	Shape []int // empty for a scalar

	// Data holds the elements, little-endian and row-major. Of a File that was opened it is a view
	// into the mapped file: read-only (a write to it kills the process), valid until the File is
	// closed, and at any address, so it must not be reinterpreted as elements wider than a byte
	// without asking Aligned. Most files align every tensor, but the format does not ask for it.
	Data []byte
}

// Aligned reports whether Data starts at a multiple of the element's size.
func (t Info) Aligned() bool {
	size := max(t.DType.Size(), 1)
	return uintptr(unsafe.Pointer(unsafe.SliceData(t.Data)))%uintptr(size) == 0
}

// File is an open safetensors file, or the files of one sharded checkpoint. Its methods may be
// called from many goroutines at once, but none during or after Close.
type File struct {
	path     string
	tensors  []Info
	index    map[string]int // name to position in tensors
	metadata map[string]string
	maps     [][]byte
}

// Open maps the file at path and checks its header. The file is not read beyond it: a tensor's
// bytes are read when they are touched. The file must not be truncated while it is open, as the
// process would then be killed by SIGBUS; files that are replaced by rename, as Write does, are
// safe.
//
// Errors name the file and the tensor or byte they are about; those about its content are *Error.
func Open(path string) (*File, error) {
	data, err := filemap.Open(path)
	if err != nil {
		return nil, err
	}
	f, err := Parse(path, data)
	if err != nil {
		_ = filemap.Close(path, data) // the error to tell is the other
		return nil, err
	}
	f.maps = [][]byte{data}
	return f, nil
}

// Parse reads a file that is in memory. The tensors are views into data; path is used in errors.
func Parse(path string, data []byte) (*File, error) {
	tensors, metadata, err := parseHeader(path, data)
	if err != nil {
		return nil, err
	}
	f := &File{path: path, tensors: tensors, metadata: metadata, index: make(map[string]int, len(tensors))}
	for i, t := range tensors {
		f.index[t.Name] = i
	}
	return f, nil
}

// Path returns the path that the file was opened by.
func (f *File) Path() string { return f.path }

// Names returns the tensors' names in the order in which their bytes lie in the file; of a sharded
// checkpoint, shard by shard in the order of the shards' names.
func (f *File) Names() []string {
	names := make([]string, len(f.tensors))
	for i, t := range f.tensors {
		names[i] = t.Name
	}
	return names
}

// Tensor returns the tensor of that name, and whether there is one. Its shape is shared with the
// File and not to be changed.
func (f *File) Tensor(name string) (Info, bool) {
	i, ok := f.index[name]
	if !ok {
		return Info{}, false
	}
	return f.tensors[i], true
}

// Metadata returns the strings that were saved with the tensors, nil when there are none. Of a
// sharded checkpoint these are the first shard's.
func (f *File) Metadata() map[string]string { return f.metadata }

// Close unmaps the file. The Data of its tensors must not be touched any more. A second Close does
// nothing.
func (f *File) Close() error {
	var errs []error
	for _, m := range f.maps {
		errs = append(errs, filemap.Close(f.path, m))
	}
	f.maps, f.tensors, f.index = nil, nil, nil
	return errors.Join(errs...)
}

// mistaken names the kind of file that is most often given in place of a safetensors file.
func mistaken(data []byte) string {
	for _, k := range []struct{ start, kind string }{
		{"version https://git-lfs", "a git-lfs pointer: fetch the file itself (git lfs pull)"},
		{"<!DOCTYPE", "an HTML page: the download went to a web page"},
		{"<!doctype", "an HTML page: the download went to a web page"},
		{"<html", "an HTML page: the download went to a web page"},
		{"PK\x03\x04", "a zip archive, as .pth files are"},
		{"\x1f\x8b", "compressed by gzip"},
		{"\x80\x02", "a pickle, as old .pth files are"},
		{"GGUF", "a GGUF file"},
		{"\x89HDF", "an HDF5 file"},
	} {
		if bytes.HasPrefix(data, []byte(k.start)) {
			return k.kind
		}
	}
	return ""
}
