package main

import (
	"fmt"
	"regexp"
	"strings"
)

// entry is one line of the allow-list: `add.Tensor AddScaled(alpha) # gives self + alpha other`.
type entry struct {
	base, overload string
	goName         string
	function       bool              // a function although the first argument is called self
	shown          []string          // arguments with a default that the wrapper shows all the same
	fixed          map[string]string // arguments that the wrapper fixes, as Go literals
	variadic       string            // the list argument that is spread, moved to the end
	summary        string            // what the wrapper does, going on from its name
}

var entryLine = regexp.MustCompile(`^([a-z_0-9A-Z:]+)(?:\.(\w+))?\s+(func\s+)?(\w+)(?:\((.*)\))?\s*$`)

func parseEntry(line string) (entry, error) {
	line, summary, _ := strings.Cut(line, "#")
	m := entryLine.FindStringSubmatch(strings.TrimSpace(line))
	if m == nil {
		return entry{}, fmt.Errorf("want `operator.overload GoName(argument, argument=value, list...)`, got %q", line)
	}
	if summary = strings.TrimSpace(summary); summary == "" || strings.HasSuffix(summary, ".") {
		return entry{}, fmt.Errorf("%s: want `# a summary` without a full stop behind it", m[4])
	}
	e := entry{
		base: m[1], overload: m[2], function: m[3] != "", goName: m[4], fixed: map[string]string{}, summary: summary,
	}
	for _, arg := range strings.FieldsFunc(m[5], func(r rune) bool { return r == ',' }) {
		arg = strings.TrimSpace(arg)
		if name, value, ok := strings.Cut(arg, "="); ok {
			e.fixed[name] = value
		} else if name, ok := strings.CutSuffix(arg, "..."); ok {
			e.variadic = name
			e.shown = append(e.shown, name)
		} else {
			e.shown = append(e.shown, arg)
		}
	}
	return e, nil
}

// name is the operator's full name, in libtorch's own namespace unless the entry names another.
func (e entry) name() string {
	if strings.Contains(e.base, "::") {
		return e.base
	}
	return "aten::" + e.base
}
