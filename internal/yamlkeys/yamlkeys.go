// Package yamlkeys lists what a YAML file says as keys and values, to compare two of them.
package yamlkeys

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Key is a scalar of a YAML file: its place, as in phases[0].lr, and its value as it is written.
type Key struct{ Name, Value string }

// List gives the scalars of a YAML file in order; a list or a mapping without anything in it is none. "" has none.
func List(text []byte) (keys []Key, err error) {
	var n yaml.Node
	if err := yaml.Unmarshal(text, &n); err != nil {
		return nil, err
	}
	walk(&n, "", func(k Key) { keys = append(keys, k) })
	return keys, nil
}

func walk(n *yaml.Node, name string, each func(Key)) {
	switch n.Kind {
	case 0: // an empty file
	case yaml.DocumentNode:
		for _, c := range n.Content {
			walk(c, name, each)
		}
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			walk(n.Content[i+1], strings.TrimPrefix(name+"."+n.Content[i].Value, "."), each)
		}
	case yaml.SequenceNode:
		for i, c := range n.Content {
			walk(c, fmt.Sprintf("%s[%d]", name, i), each)
		}
	case yaml.AliasNode:
		each(Key{name, "*" + n.Value}) // not followed: it may be of itself
	default:
		each(Key{name, n.Value})
	}
}
