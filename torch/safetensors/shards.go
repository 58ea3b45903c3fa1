package safetensors

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// maxShards bounds the open maps; the largest published checkpoints have a few hundred shards.
const maxShards = 4096

// OpenSharded opens a checkpoint that is split over several files, given its index
// (model.safetensors.index.json): an object whose weight_map names, for every tensor, the file that
// holds it, in the folder of the index. The result is used like that of Open. Index and files must
// agree on every tensor.
func OpenSharded(path string) (*File, error) {
	weights, err := readIndex(path)
	if err != nil {
		return nil, err
	}
	shards := slices.Compact(slices.Sorted(maps.Values(weights)))
	if len(shards) > maxShards {
		return nil, &Error{File: path, Offset: -1, Msg: fmt.Sprintf("%d shards, the limit is %d", len(shards), maxShards)}
	}
	f := &File{path: path, index: make(map[string]int, len(weights))}
	for i, shard := range shards {
		if err := f.addShard(path, shard, weights); err != nil {
			f.Close()
			if errors.Is(err, fs.ErrNotExist) {
				return nil, fmt.Errorf("%s: shard %d of %d: %w", path, i+1, len(shards), err)
			}
			return nil, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(weights)) {
		if _, ok := f.index[name]; !ok {
			f.Close()
			return nil, &Error{File: filepath.Join(filepath.Dir(path), weights[name]), Tensor: name, Offset: -1,
				Msg: "is not in this shard, where " + path + " says it is"}
		}
	}
	return f, nil
}

// addShard opens one shard and takes over its map and its tensors.
func (f *File) addShard(index, shard string, weights map[string]string) error {
	path := filepath.Join(filepath.Dir(index), shard)
	s, err := Open(path)
	if err != nil {
		return err
	}
	f.maps = append(f.maps, s.maps...)
	if f.metadata == nil {
		f.metadata = s.metadata
	}
	for _, t := range s.tensors {
		if owner, ok := weights[t.Name]; !ok {
			return &Error{File: path, Tensor: t.Name, Offset: -1, Msg: "is not listed in " + index}
		} else if owner != shard {
			return &Error{File: path, Tensor: t.Name, Offset: -1, Msg: fmt.Sprintf("is in this shard, but %s says %s", index, quote(owner))}
		}
		f.index[t.Name] = len(f.tensors)
		f.tensors = append(f.tensors, t)
	}
	return nil
}

// readIndex returns the file name of every tensor.
func readIndex(path string) (map[string]string, error) {
	raw, err := readCapped(path)
	if err != nil {
		return nil, err
	}
	return parseIndex(path, raw)
}

func parseIndex(path string, raw []byte) (map[string]string, error) {
	var weights map[string]string
	r := newReader(path, raw, 0)
	err := r.object("the index", func(key string, at int64) (err error) {
		if key != "weight_map" {
			return r.skip()
		}
		if weights != nil {
			return r.fail(at, "", `the key "weight_map" is there twice`)
		}
		weights, err = r.stringMap("the value of weight_map")
		return err
	})
	if err == nil {
		err = r.end("the index")
	}
	if err != nil {
		return nil, err
	}
	if len(weights) == 0 {
		return nil, &Error{File: path, Offset: -1, Msg: "weight_map is missing or empty"}
	}
	for _, name := range slices.Sorted(maps.Keys(weights)) {
		// Only a plain name: anything else could lead out of the folder.
		if s := weights[name]; s == "" || s == "." || s == ".." || strings.ContainsAny(s, "/\\\x00") {
			return nil, &Error{File: path, Tensor: name, Offset: -1, Msg: fmt.Sprintf("shard %s is not a plain file name", quote(s))}
		}
	}
	return weights, nil
}

// readCapped reads a file that must not be larger than a header may be.
func readCapped(path string) ([]byte, error) {
	// A pipe would be waited for without O_NONBLOCK.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxHeader+1))
	if err != nil {
		return nil, err
	}
	if len(raw) > maxHeader {
		return nil, &Error{File: path, Offset: -1, Msg: fmt.Sprintf("larger than %d bytes", maxHeader)}
	}
	return raw, nil
}
