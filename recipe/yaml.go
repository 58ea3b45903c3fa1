package recipe

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/thaw-ml/thaw/internal/suggest"
)

// Read reads the spec in the file at path. See Parse.
func Read(path string, overrides ...string) (Spec, error) {
	f, err := os.Open(path)
	if err != nil {
		return Spec{}, fmt.Errorf("read the spec: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSpec+1))
	if err != nil {
		return Spec{}, fmt.Errorf("read the spec: %w", err)
	}
	return Parse(path, text, overrides...)
}

// Parse reads a spec from the text of a YAML file, puts the overrides in, fills in what is left
// out and checks all values. name is that of the file: paths in the text are relative to its folder,
// those in overrides to the working folder.
//
// An override is "key=value", the key being a path such as "seed", "data.columns.text" or
// "phases[0].lr" and the value YAML; where a string is expected the value is taken as it stands. The
// last of several for one key holds.
//
// Numbers are those of YAML 1.2 (2e-4 is one). A scalar where a string is expected is taken as it is
// spelled: no and 1 are fine names of classes. Unknown and repeated keys are errors. The error is
// SpecErrors, with all that was found wrong.
func Parse(name string, text []byte, overrides ...string) (Spec, error) {
	s := Spec{source: &source{file: name, at: map[string]place{}}}
	d := &decoder{faults: newFaults(s.source), from: map[*yaml.Node]*override{}}
	root, fault := parseDocument(text)
	if fault != nil {
		d.addAt(place{line: fault.line}, "", "%s", fault.msg)
		return Spec{}, d.err()
	}
	if root == nil {
		root = &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	}
	if n := dereference(root); n.Kind != yaml.MappingNode {
		d.addAt(place{line: n.Line}, "", "expected keys such as model, data and phases, each with its value, found %s", describeNode(n))
		return Spec{}, d.err()
	}
	for i, o := range overrides {
		d.override(&root, o, i+1)
	}
	d.value(root, reflect.ValueOf(&s).Elem(), "", place{})
	if d.failed["images"] && s.Images == nil { // it was meant, so that no key of texts is missed
		s.Images = &Images{}
	}

	folder := filepath.Dir(name)
	if isName(s.Model) { // unless there is something of that name
		if path, err := filepath.Abs(filepath.Join(s.source.folder("model"), s.Model)); err == nil {
			if _, err := os.Stat(path); err == nil {
				s.Model = path
			}
		}
	}
	for key, path := range s.paths() {
		if p := s.source.at[key]; p.override == nil && *path != "" && !filepath.IsAbs(*path) {
			*path = filepath.Join(folder, *path)
		}
	}
	s.resolve(d.faults)
	if err := d.err(); err != nil {
		return Spec{}, err
	}
	return s, nil
}

// YAML writes the spec as it resolves, with every default. Parse reads the same Spec from it,
// whatever the name and the working folder.
func (s Spec) YAML() ([]byte, error) {
	s, err := s.Resolved()
	if err != nil {
		return nil, err
	}
	var root yaml.Node
	if err := root.Encode(s); err != nil {
		return nil, fmt.Errorf("write the spec: %w", err)
	}
	plainStyle(&root)
	plainNumbers(&root)
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := errors.Join(e.Encode(&root), e.Close()); err != nil {
		return nil, fmt.Errorf("write the spec: %w", err)
	}
	return b.Bytes(), nil
}

// plainStyle writes lists of scalars as [a, b], and the share of data.test without quotes.
func plainStyle(n *yaml.Node) {
	if n.Kind == yaml.SequenceNode && !slices.ContainsFunc(n.Content, func(c *yaml.Node) bool { return c.Kind != yaml.ScalarNode }) {
		n.Style = yaml.FlowStyle
	}
	for i, c := range n.Content {
		if _, isShare := shareOf(c.Value); isShare && i > 0 && n.Kind == yaml.MappingNode && n.Content[i-1].Value == "test" {
			c.Style, c.Tag = 0, "!!float"
		}
		plainStyle(c)
	}
}

// decoder fills a Spec from a YAML tree, guided by the Spec's types: it goes no deeper than they do,
// so that neither cycles nor aliases of aliases harm.
type decoder struct {
	*faults
	from map[*yaml.Node]*override // the nodes that overrides brought
}

// value sets v, which the spec calls key, from a node. at is where the value was given.
func (d *decoder) value(n *yaml.Node, v reflect.Value, key string, at place) {
	if o := d.from[n]; o != nil {
		at = place{override: o}
	}
	if key != "" {
		d.source.at[key] = at
	}
	n = dereference(n)
	inList := strings.HasSuffix(key, "]")
	switch tag := n.ShortTag(); {
	case n.Style&yaml.TaggedStyle != 0 && !slices.Contains([]string{"!!map", "!!seq", "!!str", "!!int", "!!float", "!!bool", "!!null"}, tag):
		d.add(key, "the YAML tag %s is not supported", suggest.Quote(tag))
		return
	case isNull(n) && (n.Value == "" || !inList || v.Kind() != reflect.String):
		hint := "; leave the key out for the default"
		if at.override != nil {
			hint = "" // the file may have it
		}
		d.add(key, "there is no value%s", hint)
		return
	}
	o := d.from[n]
	isText := v.Kind() == reflect.String || mayBeOne(v.Type()) && n.Kind == yaml.ScalarNode
	if o != nil && o.err != nil && !isText {
		d.add(key, "%w", o.err)
		return
	}

	switch v.Kind() {
	case reflect.Struct:
		d.mapping(n, v, key)
	case reflect.Slice, reflect.Array:
		d.list(n, v, key)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, v.Elem(), key, at)
	case reflect.String:
		switch {
		case o != nil && n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) == 0:
			v.SetString(o.raw)
		case n.Kind != yaml.ScalarNode:
			d.add(key, "expected text, found %s", describeNode(n))
		default:
			v.SetString(n.Value)
		}
	case reflect.Bool:
		if !d.scalar(n, v, "!!bool") {
			d.add(key, "expected true or false, found %s", describeNode(n))
		}
	case reflect.Int:
		if !d.scalar(n, v, "!!int") {
			d.add(key, "expected a whole number, found %s%s", describeNode(n), unquote(n))
		}
	case reflect.Uint64:
		if !d.scalar(n, v, "!!int") {
			d.add(key, "expected a whole number from 0 up, found %s%s", describeNode(n), unquote(n))
		}
	case reflect.Float64:
		if !d.scalar(n, v, "!!int", "!!float") || math.IsNaN(v.Float()) || math.IsInf(v.Float(), 0) {
			d.add(key, "expected a number, found %s%s", describeNode(n), unquote(n))
		}
	default:
		panic("recipe: Spec has a field of kind " + v.Kind().String())
	}
}

// octal numbers are those of YAML 1.1, and a trap: 010 would be 8.
var octal = regexp.MustCompile(`^[-+]?0[0-9_]+$`)

func (d *decoder) scalar(n *yaml.Node, v reflect.Value, tags ...string) bool {
	if n.Kind != yaml.ScalarNode || !slices.Contains(tags, n.ShortTag()) || octal.MatchString(n.Value) {
		return false
	}
	return n.Decode(v.Addr().Interface()) == nil
}

// mayBeOne reports whether one item of a list of the type needs no brackets.
func mayBeOne(t reflect.Type) bool {
	return t == reflect.TypeFor[Selection]() || t == reflect.TypeFor[Targets]() || t == reflect.TypeFor[ClassWeights]()
}

// list sets a slice or an array.
func (d *decoder) list(n *yaml.Node, v reflect.Value, key string) {
	items := n.Content
	if n.Kind != yaml.SequenceNode {
		if !mayBeOne(v.Type()) {
			d.add(key, "expected a list, found %s", describeNode(n))
			return
		}
		if n.Kind != yaml.ScalarNode && v.Type() == reflect.TypeFor[Targets]() {
			d.add(key, "expected names of layers, found %s", describeNode(n))
			return
		}
		if n.Kind != yaml.ScalarNode {
			d.add(key, `expected head, all, "top 2", a stage or a list of these, found %s`, describeNode(n))
			return
		}
		one := reflect.ValueOf(new(string)).Elem()
		d.value(n, one, key, d.source.at[key])
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		v.Index(0).SetString(one.String())
		return
	}
	if v.Kind() == reflect.Array && len(items) != v.Len() {
		d.add(key, "expected %d numbers, found %d", v.Len(), len(items))
		return
	}
	if v.Kind() == reflect.Slice {
		v.Set(reflect.MakeSlice(v.Type(), len(items), len(items)))
	}
	for i, item := range items {
		at := d.source.at[key]
		if at.override == nil {
			at.line = item.Line
		}
		d.value(item, v.Index(i), fmt.Sprintf("%s[%d]", key, i), at)
	}
}

// mapping sets the fields of a struct.
func (d *decoder) mapping(n *yaml.Node, v reflect.Value, key string) {
	if c, ok := v.Addr().Interface().(*Cache); ok && n.Kind == yaml.ScalarNode {
		d.value(n, reflect.ValueOf(&c.Place).Elem(), key, d.source.at[key])
		return
	}
	if n.Kind != yaml.MappingNode {
		d.add(key, "expected a mapping with the keys %s, found %s", strings.Join(keysOf(v.Type()), ", "), describeNode(n))
		return
	}
	lines := map[string]int{} // where each name was first given
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, value := dereference(n.Content[i]), n.Content[i+1]
		at := place{line: n.Content[i].Line}
		if o := cmpOr(d.from[value], d.source.at[key].override); o != nil {
			at = place{override: o}
		}
		if k.Kind != yaml.ScalarNode {
			d.addAt(at, key, "a key must be a word, found %s", describeNode(k))
			continue
		}
		path := joinKey(key, k.Value)
		if first, twice := lines[k.Value]; twice {
			d.addAt(at, path, "given twice, first in line %d", first)
			continue
		}
		lines[k.Value] = k.Line
		field, ok := fieldOf(v, k.Value)
		if !ok {
			d.unknown(k.Value, v.Type(), key, at)
			continue
		}
		d.value(value, field, path, at)
	}
}

// cmpOr is cmp.Or for two overrides.
func cmpOr(a, b *override) *override {
	if a != nil {
		return a
	}
	return b
}

// keysOf lists the keys of a struct, in order.
func keysOf(t reflect.Type) []string {
	var keys []string
	for i := range t.NumField() {
		if key, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ","); key != "" {
			keys = append(keys, key)
		}
	}
	return keys
}

func fieldOf(v reflect.Value, name string) (reflect.Value, bool) {
	for i := range v.NumField() {
		if key, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ","); key == name && key != "" {
			return v.Field(i), true
		}
	}
	return reflect.Value{}, false
}

var plainKey = regexp.MustCompile(`^[A-Za-z_<][A-Za-z0-9_<-]{0,59}$`)

func joinKey(key, name string) string {
	if !plainKey.MatchString(name) {
		name = suggest.Quote(name)
	}
	if key == "" {
		return name
	}
	return key + "." + name
}

func dereference(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// describeNode names what stands where something else should.
func describeNode(n *yaml.Node) string {
	n = dereference(n)
	switch {
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case isNull(n):
		return "no value"
	case n.ShortTag() == "!!str":
		return suggest.Quote(n.Value)
	}
	return printable(n.Value)
}

// unquote tells how to write a number that is text for its quotes alone, or for a 0 before it.
func unquote(n *yaml.Node) string {
	if n.Kind != yaml.ScalarNode {
		return ""
	}
	if octal.MatchString(n.Value) {
		return "; write it without the 0 in front"
	}
	if _, err := strconv.ParseFloat(n.Value, 64); err == nil && n.ShortTag() == "!!str" {
		return "; write it without quotes"
	}
	return ""
}
