package pth

import (
	"slices"
	"strings"
)

// containers are the keys under which training programs keep the state dict, the first to be found wins: PyTorch's
// tutorials and ImageNet example, torchvision's references and DETR, then what others write, and averaged weights last.
var containers = []string{
	"state_dict", "model", "model_state_dict", "module", "net", "network", "weights", "params",
	"ema", "model_ema", "state_dict_ema",
}

// maxKeys bounds a state dict. DeepSeek-V3, with some of the most tensors of any published model, has 92,000.
const maxKeys = 1 << 17

// maxNesting is how many containers may be in one another.
const maxNesting = 4

// stateDict finds the dict of tensors in what the file holds.
func stateDict(v any) (found *dict) {
	seen := map[*dict]bool{} // a hostile dict may hold itself
	var search func(v any, depth int) bool
	search = func(v any, depth int) bool {
		d, ok := v.(*dict)
		if !ok || seen[d] || depth > maxNesting {
			return false
		}
		seen[d] = true
		inner := make([]any, len(containers))
		tensors := false
		for _, p := range d.pairs {
			if key, ok := p.key.(string); ok {
				if i := slices.Index(containers, key); i >= 0 && inner[i] == nil {
					inner[i] = p.value
				}
			}
			_, ok := p.value.(*tensor)
			tensors = tensors || ok
		}
		for _, v := range inner {
			if search(v, depth+1) {
				return true
			}
		}
		if tensors {
			found = d
		}
		return tensors
	}
	search(v, 0)
	return found
}

// collect fills the File with the state dict's entries.
func (f *File) collect(v any) error {
	fail := func(tensor, format string, args ...any) error {
		return &Error{File: f.path, Tensor: tensor, Offset: -1, Msg: sprintf(format, args...)}
	}
	d := stateDict(v)
	if d == nil {
		return fail("", "no tensors were found: it holds %s; looked there and under %s", describe(v), strings.Join(containers, ", "))
	}
	if len(d.pairs) > maxKeys {
		return fail("", "the state dict has %d keys, the limit is %d", len(d.pairs), maxKeys)
	}
	f.tensors, f.index = make([]Info, 0, len(d.pairs)), make(map[string]int, len(d.pairs))
	for _, p := range d.pairs {
		t, isTensor := p.value.(*tensor)
		key, isString := p.key.(string)
		if !isTensor || !isString {
			if !isString {
				key = kind(p.key)
			}
			f.others = append(f.others, key)
			continue
		}
		if _, ok := f.index[key]; ok {
			return fail(key, "the key is there twice")
		}
		f.index[key] = len(f.tensors)
		f.tensors = append(f.tensors, t.info(key))
	}
	return nil
}

// describe names what a file holds, with the first keys of a dict.
func describe(v any) string {
	d, ok := v.(*dict)
	if !ok {
		return kind(v)
	}
	if len(d.pairs) == 0 {
		return "an empty dict"
	}
	var keys []string
	for _, p := range d.pairs[:min(len(d.pairs), 5)] {
		if key, ok := p.key.(string); ok {
			keys = append(keys, quote(key))
		} else {
			keys = append(keys, kind(p.key))
		}
	}
	if n := len(d.pairs) - len(keys); n > 0 {
		keys = append(keys, sprintf("%d more", n))
	}
	return "a dict of " + strings.Join(keys, ", ")
}
