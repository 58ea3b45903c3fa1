package nn

import (
	"fmt"
	"reflect"
	"strings"
	"sync"

	"github.com/thaw-ml/thaw/torch"
)

// layout is what the tags of a struct type say.
type layout struct {
	fields []field
	open   []int // exported fields without a tag whose type holds interfaces: what they hold is checked by value
	err    *torch.Error
}

// field is a tagged field.
type field struct {
	index  int
	key    string
	buffer bool
}

var layouts sync.Map // reflect.Type: *layout

func layoutOf(t reflect.Type) *layout {
	if l, ok := layouts.Load(t); ok {
		return l.(*layout)
	}
	l, _ := layouts.LoadOrStore(t, newLayout(t))
	return l.(*layout)
}

func newLayout(t reflect.Type) *layout {
	l := &layout{}
	for i := range t.NumField() {
		f := t.Field(i)
		tag, tagged := f.Tag.Lookup("torch")
		key, option, optional := strings.Cut(tag, ",")
		switch {
		case tag == "-":
		case tagged && !f.IsExported():
			l.fail(t, f, "has the tag torch:%q but is not exported", tag)
		case tagged && optional && option != "buffer":
			l.fail(t, f, "has the tag torch:%q: behind the comma only buffer may stand", tag)
		case tagged && isMap(f.Type):
			l.fail(t, f, "is a map, which has no order: use a slice, or a struct with a field for each key")
		case tagged:
			l.fields = append(l.fields, field{i, key, option == "buffer"})
		case !f.IsExported():
		case holds(f.Type, map[reflect.Type]bool{}):
			l.failUntagged(t, f, f.Type)
		case isOpen(f.Type):
			l.open = append(l.open, i)
		}
	}
	return l
}

// fail keeps the first error of a type.
func (l *layout) fail(t reflect.Type, f reflect.StructField, format string, args ...any) {
	if l.err == nil {
		l.err = &torch.Error{Op: "nn", Msg: fmt.Sprintf("%v.%s ", t, f.Name) + fmt.Sprintf(format, args...)}
	}
}

func (l *layout) failUntagged(t reflect.Type, f reflect.StructField, held reflect.Type) {
	l.fail(t, f, "holds parameters or modules (%v) but has no tag: give it its key in a checkpoint, torch:\"key\", "+
		"or torch:\"-\" where it is not part of the module", held)
}

// check panics where the tags of v, a struct of this layout, are wrong.
func (l *layout) check(v reflect.Value) {
	if l.err != nil {
		panic(l.err)
	}
	for _, i := range l.open {
		if held := heldBy(v.Field(i)); held != nil {
			var found layout
			found.failUntagged(v.Type(), v.Type().Field(i), held)
			panic(found.err)
		}
	}
}

var trainingType = reflect.TypeFor[interface{ SetTraining(bool) }]()

// holds reports whether values of a type hold tensors or modules, as far as the type says: a struct is a module where a
// field has a torch tag or an exported one holds a tensor or module, or where it is told whether it is in training.
func holds(t reflect.Type, seen map[reflect.Type]bool) bool {
	if t == tensorType || t.Implements(trainingType) {
		return true
	}
	if seen[t] {
		return false
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		return holds(t.Elem(), seen)
	case reflect.Struct:
		if reflect.PointerTo(t).Implements(trainingType) {
			return true
		}
		for i := range t.NumField() {
			f := t.Field(i)
			tag, tagged := f.Tag.Lookup("torch")
			if tag != "-" && (tagged || f.IsExported() && holds(f.Type, seen)) {
				return true
			}
		}
	}
	return false
}

func isMap(t reflect.Type) bool { return innermost(t, false).Kind() == reflect.Map }

// isOpen reports whether only a value says what a type holds.
func isOpen(t reflect.Type) bool { return innermost(t, true).Kind() == reflect.Interface }

// innermost is what pointers, slices and arrays, and where asked maps, lead to. A type that leads to itself has no end.
func innermost(t reflect.Type, maps bool) reflect.Type {
	for range 32 {
		switch t.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Array:
		case reflect.Map:
			if !maps {
				return t
			}
		default:
			return t
		}
		t = t.Elem()
	}
	return t
}

// heldBy finds the type of a module or tensor in a value whose type is open, nil where there is none.
func heldBy(v reflect.Value) reflect.Type {
	switch v.Kind() {
	case reflect.Interface:
		if v.IsNil() {
			return nil
		}
		if t := v.Elem().Type(); !isOpen(t) {
			if holds(t, map[reflect.Type]bool{}) {
				return t
			}
			return nil
		}
		return heldBy(v.Elem())
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return heldBy(v.Elem())
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if t := heldBy(v.Index(i)); t != nil {
				return t
			}
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			if t := heldBy(v.MapIndex(key)); t != nil {
				return t
			}
		}
	}
	return nil
}
