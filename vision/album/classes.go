package album

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/thaw-ml/thaw/internal/suggest"
)

func checkWanted(classes []string) error {
	for i, c := range classes {
		if strings.TrimSpace(c) == "" {
			return fmt.Errorf("class %d of those wanted has no name", i)
		}
		if slices.Contains(classes[:i], c) {
			return fmt.Errorf("the class %s is wanted twice", suggest.Quote(c))
		}
	}
	return nil
}

// found is what a source holds: its classes, sorted, to which the items' class points.
type found struct {
	noun    string // what a class is there: "folder" or "label"
	classes []string
	where   func(class string) string // "FILE:LINE: " of the first picture of a class, or ""
}

// setClasses makes the album's classes those that are wanted: items of others go, or are an error.
func (a *Album) setClasses(f found, o Options) error {
	wanted := o.Classes
	if wanted == nil {
		wanted = f.classes
	}
	position := make(map[string]int32, len(wanted))
	for i, c := range wanted {
		position[c] = int32(i)
	}
	to := make([]int32, len(f.classes))
	var unknown []string
	for i, c := range f.classes {
		p, ok := position[c]
		if !ok {
			p = -1
			unknown = append(unknown, c)
		}
		to[i] = p
	}
	kept := a.items[:0]
	pictures := make([]int, len(wanted))
	for _, it := range a.items {
		if it.class = to[it.class]; it.class >= 0 {
			kept = append(kept, it)
			pictures[it.class]++
		}
	}
	if o.Subset {
		a.LeftOut += len(a.items) - len(kept)
		unknown = nil
	}
	a.items, a.Classes = kept, slices.Clone(wanted)

	var absent []string
	for i, n := range pictures {
		if n == 0 && !o.Absent {
			absent = append(absent, wanted[i])
		}
	}
	if len(unknown) > 0 || len(absent) > 0 {
		return mismatch(f, wanted, unknown, absent)
	}
	return nil
}

// OtherClassError says that there are pictures of classes that are not wanted.
type OtherClassError struct{ msg string }

func (e *OtherClassError) Error() string { return e.msg }

// mismatch words that what is there are not the classes that are wanted.
func mismatch(f found, wanted, unknown, absent []string) error {
	var parts []string
	where, near := "", ""
	if len(unknown) > 0 {
		where = f.where(unknown[0])
		near = suggest.DidYouMean(unknown[0], wanted)
		if len(unknown) == 1 {
			parts = append(parts, fmt.Sprintf("the %s %s is not a class", f.noun, suggest.List(unknown)))
		} else {
			parts = append(parts, fmt.Sprintf("the %ss %s are not classes", f.noun, suggest.List(unknown)))
		}
	}
	if len(absent) > 0 {
		if near == "" {
			near = suggest.DidYouMean(absent[0], f.classes)
		}
		if len(absent) == 1 {
			parts = append(parts, fmt.Sprintf("there is no picture of the class %s", suggest.List(absent)))
		} else {
			parts = append(parts, fmt.Sprintf("there are no pictures of the classes %s", suggest.List(absent)))
		}
		parts = append(parts, fmt.Sprintf("the %ss are %s", f.noun, suggest.List(f.classes)))
	}
	if len(unknown) > 0 {
		parts = append(parts, "the classes are "+suggest.List(wanted))
	}
	msg := where + strings.Join(parts, "; ") + near
	if len(unknown) > 0 {
		return &OtherClassError{msg}
	}
	return errors.New(msg)
}
