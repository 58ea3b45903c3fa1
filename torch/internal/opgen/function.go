package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// kind says how a schema type appears in Go and how it is passed.
type kind struct{ goType, pass string }

var kinds = map[string]kind{
	"Tensor": {"Tensor", "tensor"}, "Tensor?": {"Tensor", "optTensor"},
	"Tensor[]": {"[]Tensor", "tensors"}, "Tensor?[]": {"[]Tensor", "optTensors"},
	"int": {"int", "int"}, "int?": {"int", "int"}, "int[]": {"[]int", "ints"}, "int[]?": {"[]int", "optInts"},
	"float": {"float64", "float"}, "float?": {"float64", "float"},
	"float[]": {"[]float64", "floats"}, "float[]?": {"[]float64", "optFloats"},
	"bool": {"bool", "bool"}, "bool?": {"bool", "bool"},
	"Scalar": {"Scalar", "scalar"}, "Scalar?": {"Scalar", "optScalar"}, "Scalar[]": {"[]float64", "scalars"},
	"str": {"string", "string"}, "str?": {"string", "string"},
	"Device": {"Device", "device"}, "Device?": {"Device", "device"},
	"ScalarType": {"DType", "dtype"}, "ScalarType?": {"DType", "optDType"},
	"Generator?": {"*Generator", "generator"},
}

// function is one wrapper to write.
type function struct {
	entry
	schema
	handle  string
	params  []argument // what the wrapper shows, self aside
	method  bool
	inPlace bool // gives its receiver back
}

func newFunction(e entry, s schema) (*function, error) {
	f := &function{entry: e, schema: s}
	f.method = !e.function && len(s.args) > 0 && s.args[0].typ == "Tensor" && s.args[0].name == "self"
	f.inPlace = len(s.args) > 0 && s.args[0].written && s.args[0].name == "self" &&
		len(s.returns) == 1 && s.returns[0].written
	for _, name := range append(slices.Clone(e.shown), slicesOfKeys(e.fixed)...) {
		if !slices.ContainsFunc(s.args, func(a argument) bool { return a.name == name }) {
			return nil, fmt.Errorf("no argument is called %q", name)
		}
	}
	var last []argument
	for i, a := range s.args {
		if f.method && i == 0 {
			continue
		}
		if _, ok := e.fixed[a.name]; ok || a.hasDefault && !slices.Contains(e.shown, a.name) {
			continue
		}
		if _, ok := f.kindOf(a); !ok {
			return nil, fmt.Errorf("arguments of type %s (%s) are not bound", a.typ, a.name)
		}
		if a.name == e.variadic {
			last = append(last, a)
			continue
		}
		f.params = append(f.params, a)
	}
	f.params = append(f.params, last...)
	for _, r := range s.returns {
		if _, ok := results[r.typ]; !ok {
			return nil, fmt.Errorf("results of type %s are not bound", r.typ)
		}
	}
	return f, nil
}

func slicesOfKeys(m map[string]string) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	return out
}

// kindOf maps an argument; a few are told apart by name because the schema calls them int.
func (f *function) kindOf(a argument) (kind, bool) {
	switch {
	case a.name == "reduction" && a.typ == "int":
		return kind{"Reduction", "int"}, true
	case a.name == "memory_format" && strings.HasPrefix(a.typ, "MemoryFormat"):
		return kind{"MemoryFormat", "int"}, true
	case strings.HasPrefix(a.typ, "ScalarType"), strings.HasPrefix(a.typ, "int") && a.name == "dtype":
		return kinds["ScalarType?"], true
	}
	k, ok := kinds[a.typ]
	return k, ok
}

var results = map[string]kind{
	"Tensor": {"Tensor", "result"}, "Tensor[]": {"[]Tensor", "results"}, "bool": {"bool", "boolResult"},
}

func (f *function) write(w *bytes.Buffer) {
	writeComment(w, fmt.Sprintf("%s %s.", f.goName, f.summary))
	fmt.Fprintf(w, "//\n//\t%s\n", f.text)
	if notes := f.notes(); notes != "" {
		fmt.Fprintf(w, "//\n// %s\n", notes)
	}
	w.WriteString("func ")
	if f.method {
		w.WriteString("(self Tensor) ")
	}
	fmt.Fprintf(w, "%s(%s) %s {\n", f.goName, f.parameters(), f.resultTypes())
	if f.plain() {
		names := []string{goName(f.args[0].name)}
		if len(f.passing()) == 2 {
			names = append(names, goName(f.args[1].name))
		}
		fmt.Fprintf(w, "\treturn %s.on%d(%s)\n}\n\n", f.handle, len(names), strings.Join(names, ", "))
		return
	}
	fmt.Fprintf(w, "\tc := call{op: &%s}\n", f.handle)
	for _, line := range f.passing() {
		w.WriteString("\t" + line + "\n")
	}
	wanted := len(f.returns)
	if f.inPlace {
		wanted = 0
	}
	fmt.Fprintf(w, "\tc.run(%d)\n", wanted)
	for _, a := range f.args {
		if _, fixed := f.fixed[a.name]; strings.HasPrefix(a.typ, "Tensor") && !fixed && f.passes(a) {
			fmt.Fprintf(w, "\truntime.KeepAlive(%s)\n", goName(a.name))
		} else if a.typ == "Generator?" && f.passes(a) {
			fmt.Fprintf(w, "\truntime.KeepAlive(%s)\n", goName(a.name))
		}
	}
	switch {
	case f.inPlace:
		w.WriteString("\treturn self\n")
	case len(f.returns) > 0:
		var out []string
		for i, r := range f.returns {
			out = append(out, fmt.Sprintf("c.%s(%d)", results[r.typ].pass, i))
		}
		fmt.Fprintf(w, "\treturn %s\n", strings.Join(out, ", "))
	}
	w.WriteString("}\n\n")
}

// writeComment writes text as a comment in lines of at most 120 columns.
func writeComment(w *bytes.Buffer, text string) {
	line := "//"
	for _, word := range strings.Fields(text) {
		if len(line)+1+len(word) > 120 {
			w.WriteString(line + "\n")
			line = "//"
		}
		line += " " + word
	}
	w.WriteString(line + "\n")
}

// plain reports whether the operator is given one or two tensors, nothing else, and gives a new tensor: the short way.
func (f *function) plain() bool {
	n := len(f.passing())
	if n < 1 || n > 2 || len(f.fixed) > 0 || f.inPlace || len(f.returns) != 1 || f.returns[0].typ != "Tensor" {
		return false
	}
	for _, a := range f.args[:n] {
		if a.typ != "Tensor" || a.written || !f.passes(a) {
			return false
		}
	}
	return true
}

// passes reports whether the caller gives this argument.
func (f *function) passes(a argument) bool {
	return f.method && a.name == "self" || slices.ContainsFunc(f.params, func(p argument) bool { return p.name == a.name })
}

// passing gives the lines that put the arguments in order; trailing defaults are libtorch's to fill in.
func (f *function) passing() []string {
	var lines []string
	keep := 0
	for i, a := range f.args {
		switch value, fixed := f.fixed[a.name]; {
		case fixed:
			lines = append(lines, f.passFixed(a, value))
			keep = i + 1
		case f.passes(a):
			k, _ := f.kindOf(a)
			name := goName(a.name)
			if k.goType != "int" && k.pass == "int" {
				name = "int(" + name + ")"
			}
			lines = append(lines, fmt.Sprintf("c.%s(%s)", k.pass, name))
			keep = i + 1
		default:
			lines = append(lines, "c.byDefault()")
		}
	}
	return lines[:keep]
}

func (f *function) passFixed(a argument, value string) string {
	if value == "none" {
		return "c.none()"
	}
	k, _ := f.kindOf(a)
	if strings.HasPrefix(k.goType, "[]") {
		value = k.goType + "{" + strings.ReplaceAll(value, " ", ", ") + "}"
	}
	return fmt.Sprintf("c.%s(%s)", k.pass, value)
}

func (f *function) parameters() string {
	var out []string
	for _, p := range f.params {
		k, _ := f.kindOf(p)
		t := k.goType
		if p.name == f.variadic {
			t = "..." + strings.TrimPrefix(t, "[]")
		}
		out = append(out, goName(p.name)+" "+t)
	}
	return strings.Join(out, ", ")
}

func (f *function) resultTypes() string {
	var out []string
	for _, r := range f.returns {
		out = append(out, results[r.typ].goType)
	}
	if len(out) < 2 {
		return strings.Join(out, "")
	}
	return "(" + strings.Join(out, ", ") + ")"
}

// notes tells what the Go signature hides.
func (f *function) notes() string {
	var parts []string
	for _, a := range f.args {
		if v, ok := f.fixed[a.name]; ok {
			parts = append(parts, fmt.Sprintf("%s is %s", a.name, v))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return "Here " + strings.Join(parts, ", ") + "."
}

var reserved = map[string]string{
	"type": "typ", "range": "rng", "len": "length", "func": "fn", "op": "operator", "call": "callee", "c": "c0",
	"var": "variance", "end": "end", "runtime": "rt",
}

// goName turns an argument's name into Go's form: weight_decay becomes weightDecay.
func goName(name string) string {
	parts := strings.Split(name, "_")
	for i, p := range parts {
		if i > 0 && p != "" {
			parts[i] = strings.ToUpper(p[:1]) + p[1:]
		}
	}
	out := strings.Join(parts, "")
	if r, ok := reserved[out]; ok {
		return r
	}
	return out
}
