package torch

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// wrappers are the prefixes that a program's wrapper around a model puts before the keys of its state dict:
// nn.DataParallel and DistributedDataParallel, torch.compile, and a LightningModule that keeps its network in
// self.model.
var wrappers = []string{"module.", compiled, "model."}

// compiled is what torch.compile puts before the keys of the module that it wraps, which may be any part of a model.
const compiled = "_orig_mod."

// Unwrapped is the checkpoint without the prefix that wrappers put before its keys: "module." (nn.DataParallel),
// "_orig_mod." (torch.compile), "model." (Lightning), also one inside another. wanted reports whether the model has a
// key. The prefix taken away is the one under which most keys are wanted; the keys that are not under that prefix, such
// as a loss's, are in Strays and no longer in Names. Without a prefix that makes more keys wanted, it is the checkpoint
// itself.
//
// Both share the open file: Close either.
func (c *Checkpoint) Unwrapped(wanted func(key string) bool) *Checkpoint {
	names := c.Names()
	counts := map[string]int{"": 0}
	for _, name := range names {
		for prefix := ""; ; {
			if counts[prefix] += 0; wanted(withoutCompiled(name[len(prefix):])) {
				counts[prefix]++
			}
			next := slices.IndexFunc(wrappers, func(w string) bool { return strings.HasPrefix(name[len(prefix):], w) })
			if next < 0 {
				break
			}
			prefix += wrappers[next]
		}
	}
	best := ""
	for prefix, n := range counts {
		if n > counts[best] || n == counts[best] && len(prefix) < len(best) {
			best = prefix
		}
	}
	if counts[best] == 0 {
		return c
	}
	u := unwrapped{weights: c.file, stored: map[string]string{}}
	plain := make(map[string]bool, len(names)) // keys without the prefix, which no other may turn into
	for _, name := range names {
		if key, ok := strings.CutPrefix(name, best); ok {
			plain[key] = true
		}
	}
	changed := false
	for _, name := range names {
		key, ok := strings.CutPrefix(name, best)
		if !ok {
			u.strays = append(u.strays, name)
			continue
		}
		if clean := withoutCompiled(key); !plain[clean] {
			key, plain[clean] = clean, true
		}
		changed = changed || key != name
		u.names = append(u.names, key)
		u.stored[key] = name
	}
	if !changed {
		return c
	}
	return &Checkpoint{u}
}

// withoutCompiled is a key without what torch.compile put into it.
func withoutCompiled(key string) string {
	if !strings.Contains(key, compiled) {
		return key
	}
	parts := slices.DeleteFunc(strings.Split(key, "."), func(part string) bool { return part+"." == compiled })
	return strings.Join(parts, ".")
}

// unwrapped are weights with other keys than those of the file.
type unwrapped struct {
	weights
	names, strays []string
	stored        map[string]string // the file's key by the key here
}

func (u unwrapped) Names() []string { return slices.Clone(u.names) }

func (u unwrapped) lookup(name string) (record, bool) {
	stored, ok := u.stored[name]
	if !ok {
		return record{}, false
	}
	return u.weights.lookup(stored)
}

// Strays lists the keys that Unwrapped left out, those that are not under the wrappers' prefix.
func (c *Checkpoint) Strays() []string {
	if u, ok := c.file.(unwrapped); ok {
		return slices.Clone(u.strays)
	}
	return nil
}

// DescribeKeys says in a line what keys there are, for errors about those that are missing: how many, three of them,
// and the prefix that all share.
func (c *Checkpoint) DescribeKeys() string {
	names := c.Names()
	if len(names) == 0 {
		return "it has no tensors"
	}
	shared := names[0]
	for _, name := range names {
		for !strings.HasPrefix(name, shared) {
			shared = shared[:len(shared)-1]
		}
	}
	shared = shared[:strings.LastIndexByte(shared, '.')+1]
	var some []string
	for i := range min(3, len(names)) { // the first, the middle and the last
		some = append(some, fmt.Sprintf("%q", names[i*(len(names)-1)/max(min(3, len(names))-1, 1)]))
	}
	noun := "keys are"
	if len(names) == 1 {
		noun = "key is"
	}
	text := fmt.Sprintf("its %d %s %s", len(names), noun, strings.Join(some, ", "))
	if len(names) > 3 {
		text = fmt.Sprintf("its %d keys are such as %s", len(names), strings.Join(some, ", "))
	}
	if shared != "" && len(names) > 1 {
		text += fmt.Sprintf(", all under %q", shared)
	}
	return text
}

// weightFiles are the names of a folder's weights in the order in which they are looked for: the best of a run of Thaw,
// then what transformers and timm write.
var weightFiles = []string{"best.safetensors", "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"}

// FindWeights gives the path of a model's weights in its folder: best.safetensors, model.safetensors,
// model.safetensors.index.json or pytorch_model.bin, the first that is there. None is an error that names them.
func FindWeights(folder string) (string, error) {
	for _, name := range weightFiles {
		path := filepath.Join(folder, name)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	hint := ""
	if _, err := os.Stat(filepath.Join(folder, "pytorch_model.bin.index.json")); err == nil {
		hint = "; pytorch_model.bin.index.json is not read: save the model as safetensors (save_pretrained of transformers)"
	}
	return "", fmt.Errorf("%s has no weights: looked for %s%s", folder, strings.Join(weightFiles, ", "), hint)
}
