package nn

import (
	"iter"
	"reflect"
	"strconv"

	"github.com/thaw-ml/thaw/torch"
)

// Params gives a module's parameters by key, in field order.
func Params(m any) iter.Seq2[string, torch.Tensor] { return tensors(m, false) }

// Buffers gives a module's buffers by key, in field order.
func Buffers(m any) iter.Seq2[string, torch.Tensor] { return tensors(m, true) }

// State gives parameters and buffers: what a checkpoint holds.
func State(m any) []torch.Named {
	var out []torch.Named
	for _, buffers := range []bool{false, true} {
		for name, t := range tensors(m, buffers) {
			out = append(out, torch.Named{Name: name, Tensor: t})
		}
	}
	return out
}

// NumParams counts the elements of all parameters.
func NumParams(m any) int {
	n := 0
	for _, p := range Params(m) {
		n += p.Numel()
	}
	return n
}

// Close frees all parameters and buffers.
func Close(m any) {
	for _, s := range State(m) {
		s.Tensor.Close()
	}
}

// MoveTo takes all parameters and buffers to a device, in place: the module's tensors stay the same values, and a
// parameter that is trained stays so. Gradients are dropped. It panics *[torch.Error] where the device has no room;
// what moved before stays there.
func MoveTo(m any, device torch.Device) {
	for _, s := range State(m) {
		s.Tensor.MoveTo(device)
	}
}

// RequireGrad says of every parameter whether it is trained.
func RequireGrad(m any, on bool) {
	for _, p := range Params(m) {
		p.RequiresGrad_(on)
	}
}

// SetTraining tells every module that behaves otherwise in training (dropout, batch norm) which it is.
func SetTraining(m any, on bool) {
	walk(reflect.ValueOf(m), "", false, func(_ string, v reflect.Value, _ bool) bool {
		if s, ok := v.Interface().(interface{ SetTraining(bool) }); ok {
			s.SetTraining(on)
		}
		return true
	})
}

// Modules gives the modules of type T, a pointer such as *BatchNorm or an interface, by key in field order. A module
// comes before those within it.
func Modules[T any](m any) iter.Seq2[string, T] {
	return func(yield func(string, T) bool) {
		walk(reflect.ValueOf(m), "", false, func(key string, v reflect.Value, _ bool) bool {
			module, ok := v.Interface().(T)
			return !ok || yield(key, module)
		})
	}
}

var tensorType = reflect.TypeFor[torch.Tensor]()

func tensors(m any, buffers bool) iter.Seq2[string, torch.Tensor] {
	return func(yield func(string, torch.Tensor) bool) {
		walk(reflect.ValueOf(m), "", false, func(key string, v reflect.Value, buffer bool) bool {
			if v.Type() != tensorType || buffer != buffers {
				return true
			}
			t := v.Interface().(torch.Tensor)
			return !t.Defined() || yield(key, t)
		})
	}
}

// walk visits v and all modules and tensors below in field order, until visit returns false. Modules are visited as
// pointers, wherever they can be pointed at.
func walk(v reflect.Value, key string, buffer bool, visit func(key string, v reflect.Value, buffer bool) bool) bool {
	if !v.IsValid() {
		return true
	}
	if v.Type() == tensorType {
		return visit(key, v, buffer)
	}
	switch v.Kind() {
	case reflect.Interface:
		return v.IsNil() || walk(v.Elem(), key, buffer, visit)
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if !walk(v.Index(i), join(key, strconv.Itoa(i)), buffer, visit) {
				return false
			}
		}
	case reflect.Pointer:
		if v.IsNil() {
			return true
		}
		if e := v.Elem(); e.Kind() != reflect.Struct || e.Type() == tensorType {
			return walk(e, key, buffer, visit)
		}
		return visit(key, v, false) && walkFields(v.Elem(), key, visit)
	case reflect.Struct:
		if v.CanAddr() {
			return walk(v.Addr(), key, buffer, visit)
		}
		return visit(key, v, false) && walkFields(v, key, visit)
	}
	return true
}

func walkFields(v reflect.Value, key string, visit func(string, reflect.Value, bool) bool) bool {
	l := layoutOf(v.Type())
	l.check(v)
	for _, f := range l.fields {
		if !walk(v.Field(f.index), join(key, f.key), f.buffer, visit) {
			return false
		}
	}
	return true
}

func join(prefix, name string) string {
	if prefix == "" || name == "" {
		return prefix + name
	}
	return prefix + "." + name
}
