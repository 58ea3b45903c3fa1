package recipe

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/thaw-ml/thaw/internal/suggest"
)

// SpecError is one fault in a spec. It prints as one line:
//
//	reviews.yaml:9: phases[1].train: no stage matches "layer.7"
//	command line: phases[1].lr=-1: must be above 0, found -1
type SpecError struct {
	File     string // as it was given; empty for a Spec made in Go
	Line     int    // from 1; 0 when the fault is in no single line
	Override string // the "key=value" at fault, in place of a line
	Key      string // such as "phases[1].train"; empty when the fault is in no single key
	Err      error

	order int // of the override among the overrides
}

func (e *SpecError) Error() string {
	var b strings.Builder
	key := e.Key
	switch {
	case e.Override != "":
		fmt.Fprintf(&b, "command line: %s: ", printable(e.Override))
		if name, _, _ := strings.Cut(e.Override, "="); strings.TrimSpace(name) == key {
			key = ""
		}
	case e.Line > 0:
		fmt.Fprintf(&b, "%s:%d: ", e.File, e.Line)
	case e.File != "":
		fmt.Fprintf(&b, "%s: ", e.File)
	}
	if key != "" {
		b.WriteString(key + ": ")
	}
	b.WriteString(e.Err.Error())
	return b.String()
}

func (e *SpecError) Unwrap() error { return e.Err }

// printable is s on one line, shortened.
func printable(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return suggest.Quote(s)
	}
	return suggest.Shorten(s)
}

// SpecErrors is every fault that was found in a spec, each printed on a line of its own: those in the
// file by line, then those of the overrides.
type SpecErrors []*SpecError

func (e SpecErrors) Error() string {
	const most = 20
	lines := make([]string, 0, most+1)
	for i, fault := range e {
		if i == most {
			lines = append(lines, fmt.Sprintf("and %d more", len(e)-most))
			break
		}
		lines = append(lines, fault.Error())
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives the faults to errors.Is and errors.As.
func (e SpecErrors) Unwrap() []error {
	errs := make([]error, len(e))
	for i, fault := range e {
		errs[i] = fault
	}
	return errs
}

// Errorf makes a *SpecError about a key, such as "phases[1].train", which carries the file and line,
// or the override, that gave the key its value; for a key that was left out, those of the nearest
// key above it. The format is fmt.Errorf's.
func (s *Spec) Errorf(key, format string, args ...any) error {
	return s.source.fault(key, fmt.Errorf(format, args...))
}

// source is where the keys of a spec were given.
type source struct {
	file string
	at   map[string]place
}

type place struct {
	line     int
	override *override // nil for what stands in the file
}

// given reports whether a key was written, in the file or on the command line.
func (s *source) given(key string) bool {
	if s == nil {
		return false
	}
	_, ok := s.at[key]
	return ok
}

func (s *source) fault(key string, err error) *SpecError {
	if s == nil {
		return &SpecError{Key: key, Err: err}
	}
	for up := key; up != ""; up = parentKey(up) {
		if p, ok := s.at[up]; ok {
			return s.faultAt(p, key, err)
		}
	}
	return s.faultAt(place{}, key, err)
}

func (s *source) faultAt(p place, key string, err error) *SpecError {
	fault := &SpecError{File: s.file, Key: key, Err: err}
	if p.override != nil {
		fault.Override, fault.order = p.override.text, p.override.order
	} else {
		fault.Line = p.line
	}
	return fault
}

// parentKey of "phases[1].train" is "phases[1]", and of that "phases".
func parentKey(key string) string { return key[:max(0, strings.LastIndexAny(key, ".["))] }

// faults gathers what is wrong with a spec.
type faults struct {
	source *source
	list   SpecErrors
	failed map[string]bool // the keys that have a fault
}

func newFaults(s *source) *faults { return &faults{source: s, failed: map[string]bool{}} }

// add notes a fault, unless one is known of the key, or of a key above it: what follows from a fault
// is not said.
func (f *faults) add(key, format string, args ...any) {
	for up := key; up != ""; up = parentKey(up) {
		if f.failed[up] {
			return
		}
	}
	f.failed[key] = true
	f.list = append(f.list, f.source.fault(key, fmt.Errorf(format, args...)))
}

// addAt is add for a place that is not the key's own.
func (f *faults) addAt(p place, key, format string, args ...any) {
	f.failed[key] = true
	f.list = append(f.list, f.source.faultAt(p, key, fmt.Errorf(format, args...)))
}

// err is nil or SpecErrors, in order.
func (f *faults) err() error {
	if len(f.list) == 0 {
		return nil
	}
	return f.list.sort()
}

func (e SpecErrors) sort() SpecErrors {
	slices.SortStableFunc(e, func(a, b *SpecError) int {
		return cmp.Or(cmp.Compare(a.order, b.order), cmp.Compare(a.Line, b.Line))
	})
	return e
}

// joinFaults makes one error of several checks of a spec: SpecErrors with the faults of all, in order, where each found
// nothing else; otherwise the first error that is something else.
func joinFaults(errs ...error) error {
	var all SpecErrors
	for _, err := range errs {
		if err == nil {
			continue
		}
		if several, ok := errors.AsType[SpecErrors](err); ok {
			all = append(all, several...)
		} else if one, ok := errors.AsType[*SpecError](err); ok {
			all = append(all, one)
		} else {
			return err
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all.sort()
}

// folder is what a path that was given for a key is relative to.
func (s *source) folder(key string) string {
	if s == nil || s.at[key].override != nil {
		return ""
	}
	return filepath.Dir(s.file)
}
