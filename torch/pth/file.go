// Package pth reads the tensors of PyTorch's own checkpoints (.pth, .pt, .bin), as torch.save writes them: the zip
// format of PyTorch 1.6 and later, and the format before it. It knows nothing of libtorch.
//
// Both formats hold a pickle, which is a program: Python runs it, and it can run anything. This package has an
// unpickler of its own that can make tensors, dicts, lists, tuples, sets, strings, numbers, None and names of dtypes
// and devices, and that has no instruction to do anything else. Objects of other classes that lie beside the state
// dict, such as the argparse.Namespace and the numbers of numpy of a training checkpoint, are passed over: nothing of
// them is made. A file that asks for one inside the state dict, or to call anything else, is an error that names what
// it asks for. What a file makes it allocate is bounded: 32 MB for the pickle's values, 16 MB for a pickle that is
// compressed, 17 MB for a zip directory and 24 MB for the state dict's keys. Tensors' bytes are not read when a file is
// opened.
//
// The formats have no specification; torch/serialization.py of PyTorch 2.11 was followed, and is named where it
// matters.
package pth

import (
	"bytes"
	"slices"
	"strings"

	"github.com/thaw-ml/thaw/internal/filemap"
)

// File is an open checkpoint. Its methods may be called from many goroutines at once, but none during or after Close.
type File struct {
	path    string
	tensors []Info
	index   map[string]int // name to position in tensors
	others  []string
	mapped  []byte
}

// Open maps the file at path and reads its pickle. A tensor's bytes are read when they are touched. The file must not
// be truncated while it is open, as the process would then be killed by SIGBUS.
//
// The tensors are those of the state dict: the dict at the top level or, where that has one, the dict under the first
// of these keys that holds tensors: state_dict, model, model_state_dict, module, net, network, weights, params, ema,
// model_ema, state_dict_ema; such a dict may hold another. The rest of a training checkpoint is passed over. Keys are
// the file's own, with the prefixes that wrappers such as nn.DataParallel put before them.
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
	f.mapped = data
	return f, nil
}

// Parse reads a file that is in memory. The tensors are views into data; path is used in errors.
func Parse(path string, data []byte) (*File, error) {
	var (
		v   any
		err error
	)
	switch {
	case len(data) == 0:
		err = &Error{File: path, Offset: -1, Msg: "the file is empty"}
	case isZip(data):
		v, err = readArchive(path, data)
	case legacyStart(data):
		v, err = readLegacy(path, data)
	default:
		err = &Error{File: path, Offset: 0, Msg: "neither a zip archive nor a pickle, as torch.save writes them" + mistaken(data)}
	}
	if err != nil {
		return nil, err
	}
	f := &File{path: path}
	if err := f.collect(v); err != nil {
		return nil, err
	}
	return f, nil
}

// Sniff reports whether a file that begins with these bytes (16 will do) is for this package: a zip archive or a
// pickle.
func Sniff(start []byte) bool { return isZip(start) || legacyStart(start) }

func isZip(data []byte) bool { return bytes.HasPrefix(data, []byte("PK\x03\x04")) }

// Path returns the path that the file was opened by.
func (f *File) Path() string { return f.path }

// Names returns the tensors' names in the order of the state dict.
func (f *File) Names() []string {
	names := make([]string, len(f.tensors))
	for i, t := range f.tensors {
		names[i] = t.Name
	}
	return names
}

// Others returns the keys of the state dict whose values are not tensors, such as _extra_state.
func (f *File) Others() []string { return slices.Clone(f.others) }

// Tensor returns the tensor of that name, and whether there is one. Its shape and strides are shared with the File and
// not to be changed.
func (f *File) Tensor(name string) (Info, bool) {
	i, ok := f.index[name]
	if !ok {
		return Info{}, false
	}
	return f.tensors[i], true
}

// Close unmaps the file. The Data of its tensors must not be touched any more. A second Close does nothing.
func (f *File) Close() error {
	mapped := f.mapped
	f.mapped, f.tensors, f.index = nil, nil, nil
	return filemap.Close(f.path, mapped)
}

// mistaken names the kind of file that is most often given in place of a checkpoint.
func mistaken(data []byte) string {
	for _, k := range []struct {
		at          int
		mark, thing string
	}{
		{0, "version https://git-lfs", "a git-lfs pointer: fetch the file itself (git lfs pull)"},
		{0, "<!doctype", "an HTML page: the download went to a web page"},
		{0, "<html", "an HTML page: the download went to a web page"},
		{0, "\x1f\x8b", "compressed by gzip"},
		{0, "gguf", "a GGUF file"},
		{0, "\x89hdf", "an HDF5 file"},
		{8, "{", "a safetensors file"},
		{257, "ustar", "a tar archive, PyTorch's format before 2017: load it in Python and save it again"},
	} {
		if len(data) > k.at && bytes.HasPrefix(bytes.ToLower(data[k.at:min(len(data), k.at+64)]), []byte(strings.ToLower(k.mark))) {
			return "; this is " + k.thing
		}
	}
	return ""
}
