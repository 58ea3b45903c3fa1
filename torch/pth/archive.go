package pth

import (
	"strconv"
	"strings"
)

// readArchive reads the zip format: data.pkl, and data/0, data/1... with the bytes of the storages.
func readArchive(path string, data []byte) (any, error) {
	a, err := openArchive(path, data)
	if err != nil {
		return nil, err
	}
	if _, ok := a.find("constants.pkl"); ok {
		return nil, &Error{File: path, Offset: -1, Msg: "this is a TorchScript program (torch.jit.save), which is not read: " +
			"in Python, load it with torch.jit.load and save its weights: torch.save(model.state_dict(), path)"}
	}
	if err := a.checkFormat(); err != nil {
		return nil, err
	}
	e, ok := a.find("data.pkl")
	if !ok {
		return nil, &Error{File: path, Offset: -1, Msg: "this is a zip archive, but has no " + plain(a.prefix+"data.pkl") + ": not one that torch.save wrote"}
	}
	pickle, err := a.inflate(e)
	if err != nil {
		return nil, err
	}
	m := &machine{file: path, record: string(e.name), data: pickle, most: mostBytes(data)}
	stored := map[string]*storage{}
	m.persistent = func(m *machine, id tuple) any {
		s, key := m.storage(id, 5, stored, len(data))
		if m.err != nil || s.root.data != nil || s.size == 0 {
			return s
		}
		return a.attach(m, s, key)
	}
	v, err := m.run()
	if err == nil && m.pos != len(pickle) {
		m.fail("%d bytes follow the pickle's end", len(pickle)-m.pos)
	}
	if m.err != nil {
		return nil, m.err
	}
	return v, checkState(v)
}

// attach finds a storage's bytes.
func (a *archive) attach(m *machine, s *typedStorage, key string) any {
	e, ok := a.find("data/" + key)
	if !ok {
		return m.failTensor("its storage, %s, is not in the archive", plain(a.prefix+"data/"+key))
	}
	raw, err := a.bytes(e)
	if err != nil {
		m.err = err
		return nil
	}
	if len(raw) != s.root.size {
		return m.failTensor("its storage, %s, has %d bytes instead of %d", plain(string(e.name)), len(raw), s.root.size)
	}
	s.root.data = raw
	return s
}

// checkFormat reads the small records that say how the others are to be read. Old files lack them.
func (a *archive) checkFormat() error {
	if e, ok := a.find("byteorder"); ok {
		raw, err := a.bytes(e)
		if err != nil {
			return err
		}
		if string(raw) != "little" {
			return a.fail(e.name, "the byte order is %s, and only little is read: load it in Python and save it again", quote(string(raw[:min(len(raw), 100)])))
		}
	}
	if e, ok := a.find("version"); ok {
		raw, err := a.bytes(e)
		if err != nil {
			return err
		}
		text := strings.TrimSpace(string(raw[:min(len(raw), 100)]))
		if n, err := strconv.Atoi(text); err != nil || n < 1 || n > maxVersion {
			return a.fail(e.name, "version %s of the format, and 1 to %d are read", quote(text), maxVersion)
		}
	}
	return nil
}

// mostBytes bounds what a tensor may take in row-major order, where repeating elements (strides of 0) lets a small file
// describe a large one.
func mostBytes(file []byte) int { return max(len(file), 64<<20) }

// storage reads a persistent id of n values, which names a storage: ("storage", type, key, location, numel).
func (m *machine) storage(id tuple, n int, stored map[string]*storage, fileSize int) (*typedStorage, string) {
	nothing := &typedStorage{root: &storage{}}
	for _, v := range id { // a class of storages, or the class of a module that was saved whole
		if class, ok := v.(*foreign); ok {
			m.failForeign(class)
			return nothing, ""
		}
	}
	if len(id) != n || id[0] != "storage" {
		m.fail("the pickle refers to something else than a storage")
		return nothing, ""
	}
	class, _ := id[1].(*global)
	key, okKey := id[2].(string)
	numel, okNumel := id[4].(int64)
	if class == nil || class.storage == "" || !okKey || !okNumel {
		m.fail("the pickle refers to a storage by %s, %s and %s", kind(id[1]), kind(id[2]), kind(id[4]))
		return nothing, ""
	}
	elem := class.storage.Size()
	if numel < 0 || numel > int64(fileSize/elem) {
		m.failTensor("its storage %s has %d elements of %s, and the file %d bytes: truncated?", quote(key), numel, class.storage, fileSize)
		return nothing, ""
	}
	size := int(numel) * elem
	root, ok := stored[key]
	if !ok {
		if !m.charge(300 + len(key)) {
			return nothing, ""
		}
		root = &storage{size: size, elem: elem}
		stored[key] = root
	}
	if root.size != size {
		m.failTensor("its storage %s has %d bytes here and %d before", quote(key), size, root.size)
		return nothing, ""
	}
	if !m.charge(64) {
		return nothing, ""
	}
	return &typedStorage{root: root, size: size, dtype: class.storage}, key
}
