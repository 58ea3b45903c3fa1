package main

import (
	"fmt"
	"regexp"
	"strings"
)

// argument is one parameter or result of an operator.
type argument struct {
	typ        string // without alias annotations: "Tensor", "int[]?", "Scalar"
	name       string
	written    bool // written in place
	hasDefault bool
}

// schema is an operator's signature.
type schema struct {
	text    string // without the namespace
	args    []argument
	returns []argument
}

var (
	signature  = regexp.MustCompile(`^[\w:]+(?:\.\w+)?\((.*)\) -> (.*)$`)
	annotation = regexp.MustCompile(`\([a-z](?:!)?(?: -> [*a-z|]+)?\)`)
)

func parseSchema(text string) (schema, error) {
	m := signature.FindStringSubmatch(text)
	if m == nil {
		return schema{}, fmt.Errorf("the schema does not read as name(arguments) -> results")
	}
	s := schema{text: text}
	for _, part := range split(m[1]) {
		if part == "*" {
			continue
		}
		declared, _, hasDefault := strings.Cut(part, "=")
		i := strings.LastIndexByte(declared, ' ')
		if i < 0 {
			return s, fmt.Errorf("argument %q has no name", part)
		}
		a := newArgument(declared[:i])
		a.name, a.hasDefault = declared[i+1:], hasDefault
		s.args = append(s.args, a)
	}
	results := m[2]
	if strings.HasPrefix(results, "(") && strings.HasSuffix(results, ")") && results != "()" {
		results = results[1 : len(results)-1]
	}
	if results != "()" {
		for _, part := range split(results) {
			typ, name, _ := strings.Cut(part, " ")
			a := newArgument(typ)
			a.name = name
			s.returns = append(s.returns, a)
		}
	}
	return s, nil
}

var fixedLength = regexp.MustCompile(`\[\d+\]`)

func newArgument(typ string) argument {
	written := strings.Contains(typ, "!")
	typ = annotation.ReplaceAllString(typ, "")
	typ = strings.ReplaceAll(typ, "SymInt", "int")
	return argument{typ: fixedLength.ReplaceAllString(typ, "[]"), written: written}
}

// split cuts at the commas that stand in no bracket.
func split(s string) []string {
	var parts []string
	depth, start := 0, 0
	for i, r := range s {
		switch r {
		case '(', '[':
			depth++
		case ')', ']':
			depth--
		case ',':
			if depth == 0 {
				parts = append(parts, strings.TrimSpace(s[start:i]))
				start = i + 1
			}
		}
	}
	if last := strings.TrimSpace(s[start:]); last != "" {
		parts = append(parts, last)
	}
	return parts
}
