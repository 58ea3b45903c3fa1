package pth

// allowed ends the error about anything that is outside the list.
const allowed = "only tensors, dicts, lists, tuples, sets, strings and numbers are read; " +
	"in Python, load it and save the weights alone: torch.save(model.state_dict(), path)"

// global is a name that a pickle may ask for. It is called, or it names a kind of storage, or it only is there.
type global struct {
	name    string
	call    func(m *machine, args tuple) any
	storage DType
}

// globals is all that a pickle can ask for, a subset of what torch.load allows with weights_only (torch 2.11,
// torch/_weights_only_unpickler.py, _get_allowed_globals).
var globals = func() map[string]any {
	all := map[string]any{}
	for name, call := range map[string]func(*machine, tuple) any{
		"collections.OrderedDict":                    orderedDict,
		"collections.Counter":                        orderedDict,
		"torch.Size":                                 size,
		"torch.device":                               made("a torch.device"),
		"torch.Tensor":                               nil,
		"torch.nn.parameter.Parameter":               parameter,
		"torch._utils._rebuild_tensor":               rebuildTensor,
		"torch._utils._rebuild_tensor_v2":            rebuildTensorV2,
		"torch._utils._rebuild_tensor_v3":            rebuildTensorV3,
		"torch._utils._rebuild_parameter":            parameter,
		"torch._utils._rebuild_parameter_with_state": parameter,
		"torch._tensor._rebuild_from_type_v2":        rebuildFromType,
		"_codecs.encode":                             made("bytes"),
		"builtins.bytes":                             made("bytes"),
		"builtins.bytearray":                         made("a bytearray"),
		"builtins.set":                               made("a set"),
		"builtins.frozenset":                         made("a frozenset"),
		"builtins.complex":                           made("a complex"),
	} {
		all[name] = &global{name: name, call: call}
	}
	for name, dtype := range storages {
		all["torch."+name] = &global{name: "torch." + name, storage: dtype}
	}
	all["torch.storage.UntypedStorage"] = all["torch.UntypedStorage"]
	all["torch.storage._UntypedStorage"] = all["torch.UntypedStorage"] // torch 1.12's name
	for dtype := range sizes {
		all["torch."+string(dtype)] = dtype
	}
	return all
}()

// global pushes what has that name.
func (m *machine) global(module, name string) {
	if m.err != nil {
		return
	}
	asked := module + "." + name
	if module == "__builtin__" { // Python 2's name, which protocols 0 to 2 write
		module = "builtins"
	}
	v, ok := globals[module+"."+name]
	switch {
	case ok:
		m.push(v)
	case module == "torch._utils": // it makes tensors of kinds that are not read
		m.fail("it asks for %s: %s", plain(asked), allowed)
	default:
		m.foreign(asked)
	}
}

// reduce calls what was asked for by name.
func (m *machine) reduce() {
	args, okArgs := m.pop().(tuple)
	f := m.pop()
	if class, ok := f.(*foreign); ok && m.err == nil {
		if !inert[class.name] {
			m.failForeign(class)
		}
		m.push(class)
		return
	}
	g, ok := f.(*global)
	switch {
	case m.err != nil:
	case !ok || g.call == nil:
		m.fail("the pickle calls %s", kind(f))
	case !okArgs:
		m.fail("the pickle calls %s without a tuple of arguments", g.name)
	default:
		if v := g.call(m, args); m.err == nil {
			m.push(v)
		}
	}
}

// made stands for a value whose content nothing here needs.
func made(kind opaque) func(*machine, tuple) any {
	return func(*machine, tuple) any { return kind }
}

// orderedDict makes a dict: empty, of pairs (as Python 2 wrote it), or of another dict.
func orderedDict(m *machine, args tuple) any {
	d := &dict{}
	if !m.charge(48) {
		return nil
	}
	if len(args) == 0 {
		return d
	}
	var items []any
	switch from := args[0].(type) {
	case *dict:
		if m.charge(64 * len(from.pairs)) {
			d.pairs = append(d.pairs, from.pairs...)
		}
		return d
	case *list:
		items = from.items
	default:
		return m.fail("a dict is made of %s", kind(from))
	}
	if !m.charge(64 * len(items)) {
		return nil
	}
	for _, item := range items {
		var kv []any
		switch item := item.(type) {
		case *list:
			kv = item.items
		case tuple:
			kv = item
		}
		if len(kv) != 2 {
			return m.fail("a dict is made of %s instead of a pair", kind(item))
		}
		d.pairs = append(d.pairs, pair{kv[0], kv[1]})
	}
	return d
}

// size makes a torch.Size, which is a tuple.
func size(m *machine, args tuple) any {
	if len(args) != 1 {
		return m.fail("torch.Size is called with %d arguments", len(args))
	}
	if t, ok := args[0].(tuple); ok {
		return t
	}
	return m.fail("torch.Size is made of %s", kind(args[0]))
}

// parameter is the tensor that it holds: (data, requires_grad, backward_hooks, state).
func parameter(m *machine, args tuple) any {
	if len(args) >= 1 {
		if t, ok := args[0].(*tensor); ok {
			return t
		}
	}
	return m.failTensor("a parameter is made of something else than a tensor")
}

// rebuildTensor is (storage, storage_offset, size, stride).
func rebuildTensor(m *machine, args tuple) any { return m.rebuild(args, 4, 4, -1) }

// rebuildTensorV2 adds requires_grad, backward_hooks and perhaps metadata.
func rebuildTensorV2(m *machine, args tuple) any { return m.rebuild(args, 6, 7, -1) }

// rebuildTensorV3 is V2 with a dtype before the metadata, for a storage without one.
func rebuildTensorV3(m *machine, args tuple) any { return m.rebuild(args, 7, 8, 6) }

// rebuildFromType is a tensor with attributes: (func, type, args, state).
func rebuildFromType(m *machine, args tuple) any {
	if len(args) != 4 {
		return m.failTensor("a tensor is rebuilt with %d arguments", len(args))
	}
	for _, arg := range args[:2] {
		if class, ok := arg.(*foreign); ok {
			return m.failForeign(class)
		}
	}
	f, _ := args[0].(*global)
	t, _ := args[1].(*global)
	inner, _ := args[2].(tuple)
	if f != nil && t != nil && (t.name == "torch.Tensor" || t.name == "torch.nn.parameter.Parameter") {
		switch f.name {
		case "torch._utils._rebuild_tensor_v2":
			return rebuildTensorV2(m, inner)
		case "torch._utils._rebuild_tensor_v3":
			return rebuildTensorV3(m, inner)
		}
	}
	return m.failTensor("a tensor is rebuilt by %s as %s", kind(args[0]), kind(args[1]))
}

// rebuild makes a tensor of from least to most arguments, one of which may be its dtype.
func (m *machine) rebuild(args tuple, least, most, dtypeAt int) any {
	if len(args) < least || len(args) > most {
		return m.failTensor("a tensor is rebuilt with %d arguments instead of %d", len(args), least)
	}
	s, ok := args[0].(*typedStorage)
	if !ok {
		return m.failTensor("a tensor is rebuilt of %s instead of a storage", kind(args[0]))
	}
	dtype := s.dtype
	if dtypeAt >= 0 {
		if dtype, ok = args[dtypeAt].(DType); !ok {
			return m.failTensor("its dtype is %s", kind(args[dtypeAt]))
		}
	}
	offset, ok := args[1].(int64)
	if !ok {
		return m.failTensor("its offset is %s", kind(args[1]))
	}
	shape, ok := m.ints(args[2])
	if !ok {
		return m.failTensor("its shape is not a tuple of 64-bit numbers")
	}
	strides, ok := m.ints(args[3])
	if !ok {
		return m.failTensor("its strides are not a tuple of 64-bit numbers")
	}
	if len(args) == most && most > 4 {
		if lazy := lazyBit(args[most-1]); lazy != "" {
			return m.failTensor("its %s bit is set; save it after resolve_conj() and resolve_neg()", lazy)
		}
	}
	t, problem := newTensor(s, dtype, int(offset), shape, strides, m.most)
	if problem != "" {
		return m.failTensor("%s", problem)
	}
	return t
}

// ints reads a tuple of numbers.
func (m *machine) ints(v any) ([]int, bool) {
	t, ok := v.(tuple)
	if !ok || !m.charge(128+8*len(t)) {
		return nil, false
	}
	out := make([]int, len(t))
	for i, v := range t {
		n, ok := v.(int64)
		if !ok {
			return nil, false
		}
		out[i] = int(n)
	}
	return out, true
}

// lazyBit names the lazy operation in a tensor's metadata: conj or neg.
func lazyBit(metadata any) string {
	d, ok := metadata.(*dict)
	if !ok {
		return ""
	}
	for _, p := range d.pairs {
		if key, ok := p.key.(string); ok && p.value != false {
			return plain(key)
		}
	}
	return ""
}
