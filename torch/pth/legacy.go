package pth

import (
	"bytes"
	"math"
	"math/big"
)

// The older format, which torch.save wrote before 1.6 and still does on request: the pickles of magic, of
// protocolVersion, of the system's sizes, of the object and of the list of its storages' keys, and in the order of that
// list, each storage as its count of elements (64 bits) and its bytes (torch 2.11, torch/serialization.py,
// _legacy_save).
var (
	magic, _        = new(big.Int).SetString("1950a86a20f9469cfc6c", 16)
	protocolVersion = int64(1001)
)

// readLegacy reads a file of the older format.
func readLegacy(path string, data []byte) (any, error) {
	m := &machine{file: path, data: data, most: mostBytes(data)}
	if err := m.preamble(); err != nil {
		return nil, err
	}
	stored := map[string]*storage{}
	m.persistent = func(m *machine, id tuple) any { return m.legacyStorage(id, stored) }
	v, err := m.run()
	if err != nil {
		return nil, err
	}
	if err := checkState(v); err != nil {
		return nil, err
	}
	m.persistent = nil
	keys, err := m.run()
	if err != nil {
		return nil, err
	}
	l, ok := keys.(*list)
	if !ok || len(l.items) != len(stored) {
		return nil, m.fault("the list of storages' keys is %s, and the tensors have %d storages", kind(keys), len(stored))
	}
	for _, item := range l.items {
		key, _ := item.(string)
		s := stored[key]
		if s == nil || s.data != nil {
			return nil, m.fault("%s in the list of storages' keys is there twice or no tensor's", kind(item))
		}
		m.at = m.pos
		numel := m.uint(8)
		if m.err == nil && (numel > math.MaxInt || int(numel) != s.size/s.elem) {
			m.fail("the storage %s has %d elements instead of %d", quote(key), numel, s.size/s.elem)
		}
		m.at = m.pos
		raw := m.data[m.pos:]
		if m.err == nil && s.size > len(raw) {
			m.fail("the storage %s has %d bytes, %d are left in the file: truncated?", quote(key), s.size, len(raw))
		}
		if m.err != nil {
			return nil, m.err
		}
		s.data = raw[:s.size:s.size]
		m.pos += s.size
	}
	return v, nil
}

// fault is an error at the present place.
func (m *machine) fault(format string, args ...any) error {
	m.fail(format, args...)
	return m.err
}

// preamble reads the pickles before the object.
func (m *machine) preamble() error {
	number, err := m.run()
	if err != nil {
		return err
	}
	if n, ok := number.(*big.Int); !ok || n.Cmp(magic) != 0 {
		return m.fault("this is a pickle of %s, not what torch.save writes: the magic number is missing", kind(number))
	}
	version, err := m.run()
	if err != nil {
		return err
	}
	if version != protocolVersion {
		n, _ := version.(int64)
		return m.fault("version %d of the format, and %d is read", n, protocolVersion)
	}
	system, err := m.run()
	if err != nil {
		return err
	}
	d, _ := system.(*dict)
	if d == nil {
		return m.fault("the description of the system is %s, not a dict", kind(system))
	}
	for _, p := range d.pairs {
		if p.key == "little_endian" && p.value != true {
			return m.fault("the byte order is big, and only little is read: load it in Python and save it again")
		}
	}
	return nil
}

// legacyStorage reads a persistent id, which has a sixth value: None, or the part of the storage that is meant.
func (m *machine) legacyStorage(id tuple, stored map[string]*storage) any {
	s, key := m.storage(id, 6, stored, len(m.data))
	if m.err != nil {
		return nil
	}
	view, ok := id[5].(tuple)
	if !ok {
		return s
	}
	if len(view) == 3 { // (key, offset, numel), in elements
		offset, okOffset := view[1].(int64)
		numel, okNumel := view[2].(int64)
		elem := int64(s.dtype.Size())
		total := int64(s.size) / elem
		if okOffset && okNumel && offset >= 0 && numel >= 0 && offset <= total && numel <= total-offset {
			s.base, s.size = int(offset*elem), int(numel*elem)
			return s
		}
	}
	return m.failTensor("its part of the storage %s reaches past the end", quote(key))
}

// legacyStart reports whether data begins like a pickle: by its protocol, or by the magic number in text (protocol 1).
func legacyStart(data []byte) bool {
	return len(data) >= 2 && data[0] == 0x80 && data[1] <= maxProtocol || bytes.HasPrefix(data, []byte("L"+magic.String()))
}
