package pth

// foreign is an object of a class that is not read, such as the argparse.Namespace that training programs keep beside
// the state dict, or what stands for one. Nothing of it is made or called: its arguments, state and items are passed
// over. Outside the state dict it does no harm; inside, and where a call of it is asked for, its error ends the
// reading.
type foreign struct {
	name string
	err  *Error // about the place that asks for it
}

// inert are the functions whose calls are passed over as the objects are that they would make: numbers and arrays of
// numpy, and paths. A call of any other name that is not in the list of globals is an error.
var inert = map[string]bool{
	"numpy._core.multiarray.scalar": true, "numpy.core.multiarray.scalar": true,
	"numpy._core.multiarray._reconstruct": true, "numpy.core.multiarray._reconstruct": true, "numpy.dtype": true,
	"pathlib.Path": true, "pathlib.PosixPath": true, "pathlib.WindowsPath": true, "pathlib.PurePosixPath": true,
	"pathlib._local.PosixPath": true, "pathlib._local.WindowsPath": true, // Python 3.13
}

// foreign pushes what stands for a name that is not in the list of globals.
func (m *machine) foreign(name string) {
	if !m.charge(200 + len(name)) {
		return
	}
	m.push(&foreign{name, &Error{File: m.file, Record: m.record, Offset: m.base + int64(m.at),
		Msg: sprintf("it asks for %s: %s", plain(name), allowed)}})
}

// failForeign makes a foreign object's error the machine's.
func (m *machine) failForeign(f *foreign) any {
	if m.err == nil {
		m.err = f.err
	}
	return nil
}

// newObject is NEWOBJ: an object of a class, whose arguments are passed over.
func (m *machine) newObject() {
	m.pop()
	switch class := m.pop().(type) {
	case *foreign:
		m.push(class)
	default:
		m.refuse(0x81)
	}
}

// checkState refuses a foreign object inside the state dict of what a file holds, or in place of one.
func checkState(v any) error {
	d := stateDict(v)
	if d == nil {
		if f := findForeign(v, map[any]bool{}); f != nil {
			return f.err
		}
		return nil // collect says what there is
	}
	seen := map[any]bool{}
	for _, p := range d.pairs {
		for _, part := range []any{p.key, p.value} {
			if f := findForeign(part, seen); f != nil {
				return f.err
			}
		}
	}
	return nil
}

// findForeign looks for a foreign object in a value. seen are the containers looked into: a hostile one may hold
// itself, or another many times.
func findForeign(v any, seen map[any]bool) *foreign {
	switch v := v.(type) {
	case *foreign:
		return v
	case tuple:
		for _, item := range v {
			if f := findForeign(item, seen); f != nil {
				return f
			}
		}
	case *list:
		if seen[v] {
			return nil
		}
		seen[v] = true
		for _, item := range v.items {
			if f := findForeign(item, seen); f != nil {
				return f
			}
		}
	case *dict:
		if seen[v] {
			return nil
		}
		seen[v] = true
		for _, p := range v.pairs {
			if f := findForeign(p.value, seen); f != nil {
				return f
			}
			if f := findForeign(p.key, seen); f != nil {
				return f
			}
		}
	}
	return nil
}
