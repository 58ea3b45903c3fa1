package launch

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// variables read an environment in which an empty variable is none.
type variables struct{ getenv func(string) string }

func (v variables) get(name string) string { return strings.TrimSpace(v.getenv(name)) }
func (v variables) has(name string) bool   { return v.get(name) != "" }

// numbers read several variables; the first error stays.
type numbers struct {
	variables
	err error
}

// number is a variable's, or otherwise where the variable is not set.
func (n *numbers) number(name string, otherwise int) int {
	text := n.get(name)
	if text == "" {
		return otherwise
	}
	value, err := strconv.Atoi(text)
	if err != nil && n.err == nil {
		n.err = fmt.Errorf("%s=%s is no whole number", name, text)
	}
	return value
}

// missing collects the names of what a set lacks.
type missing []string

func (m *missing) add(isMissing bool, name string) {
	if isMissing {
		*m = append(*m, name)
	}
}

// err says whose set lacks what, and how to mend it.
func (m missing) err(whose, help string) error {
	switch len(m) {
	case 0:
		return nil
	case 1:
		return fmt.Errorf("%s lack %s: %s", whose, m[0], help)
	}
	return errors.New(whose + " lack " + strings.Join(m[:len(m)-1], ", ") + " and " + m[len(m)-1] + ": " + help)
}
