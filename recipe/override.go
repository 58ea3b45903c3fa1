package recipe

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/thaw-ml/thaw/internal/suggest"
)

// override is one "key=value" of the command line.
type override struct {
	text  string // as it was given
	raw   string // the value
	order int    // from 1
	node  *yaml.Node
	err   error // why raw is no YAML; it may still be a fine path
}

// keyStep is one part of a key: a name, or an index.
type keyStep struct {
	name  string
	index int
	path  string // the key up to here: "phases[0]"
}

var (
	keyForm  = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]*(\.[A-Za-z_][A-Za-z0-9_-]*|\[[0-9]{1,6}\])*$`)
	stepForm = regexp.MustCompile(`[A-Za-z_][A-Za-z0-9_-]*|[0-9]+\]`)
)

// parsePath parts "phases[0].lr" into "phases", 0 and "lr".
func parsePath(key string) ([]keyStep, error) {
	if !keyForm.MatchString(key) {
		return nil, fmt.Errorf("expected a key such as seed, data.train or phases[0].lr, found %s", suggest.Quote(key))
	}
	var steps []keyStep
	for _, at := range stepForm.FindAllStringIndex(key, -1) {
		s := keyStep{name: key[at[0]:at[1]], path: key[:at[1]]}
		if number, ok := strings.CutSuffix(s.name, "]"); ok {
			s.name = ""
			s.index, _ = strconv.Atoi(number) // at most six digits
		}
		steps = append(steps, s)
	}
	return steps, nil
}

// override puts the value of a "key=value" into the tree. Mappings on the way are made where they are
// missing; lists are not extended.
func (d *decoder) override(root **yaml.Node, text string, order int) {
	o := &override{text: text, order: order}
	here := place{override: o}
	key, raw, ok := strings.Cut(text, "=")
	if !ok {
		d.addAt(here, "", "expected key=value, such as seed=2")
		return
	}
	o.raw = strings.TrimSpace(raw)
	key = strings.TrimSpace(key)
	steps, err := parsePath(key)
	if err != nil {
		d.addAt(here, key, "%w", err)
		return
	}
	o.parse()

	slot := root
	for _, s := range steps {
		node := d.own(slot)
		if s.name == "" {
			if node.Kind != yaml.SequenceNode || s.index >= len(node.Content) {
				d.addAt(here, key, "there is no %s; %s", s.path, countItems(parentKey(s.path), node))
				return
			}
			slot = &node.Content[s.index]
			continue
		}
		if isNull(node) {
			node.Kind, node.Tag, node.Value = yaml.MappingNode, "!!map", ""
		}
		if node.Kind == yaml.ScalarNode && parentKey(s.path) == "cache" { // a word, which is its place
			place := *node
			*node = yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: node.Line, Content: []*yaml.Node{{Kind: yaml.ScalarNode, Tag: "!!str", Value: "place"}, &place}}
			if o := d.from[node]; o != nil {
				d.from[&place] = o
			}
		}
		if node.Kind != yaml.MappingNode {
			d.addAt(here, key, "there is no %s; %s is %s", s.path, parentKey(s.path), describeNode(node))
			return
		}
		slot = nil
		for i := 0; i+1 < len(node.Content) && slot == nil; i += 2 {
			if node.Content[i].Value == s.name {
				slot = &node.Content[i+1]
			}
		}
		if slot == nil {
			missing := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null"}
			d.from[missing] = o
			node.Content = append(node.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s.name}, missing)
			slot = &node.Content[len(node.Content)-1]
		}
	}
	*slot = o.node
	d.from[o.node] = o
}

// parse reads the value as YAML. What is none may be meant for a string, so the error waits.
func (o *override) parse() {
	o.node = &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: o.raw}
	document, err := parseDocument([]byte(o.raw))
	switch {
	case err != nil:
		o.err = fmt.Errorf("not YAML: %s", err.msg)
	case document == nil:
		o.node.Tag = "!!null"
	default:
		o.node = document
	}
}

// own makes the node in a slot one that can be changed: an alias, and what an alias may point to, is
// replaced by a copy. Its children stay shared.
func (d *decoder) own(slot **yaml.Node) *yaml.Node {
	old := *slot
	if old.Kind == yaml.AliasNode {
		old = old.Alias
	}
	node := *old
	node.Anchor = ""
	node.Content = append([]*yaml.Node(nil), old.Content...)
	if o := d.from[*slot]; o != nil {
		d.from[&node] = o
	}
	*slot = &node
	return &node
}

// countItems says what a list holds.
func countItems(key string, node *yaml.Node) string {
	switch {
	case node.Kind != yaml.SequenceNode && !isNull(node):
		return fmt.Sprintf("%s is %s", key, describeNode(node))
	case len(node.Content) == 0:
		return fmt.Sprintf("%s is empty", key)
	}
	return fmt.Sprintf("the last of %s is %s[%d]", key, key, len(node.Content)-1)
}
