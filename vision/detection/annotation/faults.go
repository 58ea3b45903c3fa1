package annotation

import (
	"fmt"
	"slices"
	"strings"

	"github.com/thaw-ml/thaw/internal/quantity"
)

// Kind is what is wrong with an annotation, in a few words.
type Kind string

// The kinds of faults.
const (
	NoArea          Kind = "box of no area"
	Outside         Kind = "box outside its picture"
	PartlyOutside   Kind = "box partly outside its picture"
	NotFinite       Kind = "number that is not finite"
	UnknownClass    Kind = "unknown class"
	UnknownPicture  Kind = "box of an unknown picture"
	DuplicateID     Kind = "id that was there before"
	MissingPicture  Kind = "missing picture"
	DamagedPicture  Kind = "picture that cannot be read"
	OtherSize       Kind = "picture of another size"
	DuplicateEntry  Kind = "picture that was there before"
	IncompleteEntry Kind = "incomplete or misspelled entry"
)

// Fault is what is wrong with one box or picture.
type Fault struct {
	Kind  Kind
	Where string // "FILE:LINE", or in JSON "FILE: KEY PATH"
	Msg   string
}

func (f Fault) Error() string { return f.Where + ": " + f.Msg }

// Faults counts faults and keeps the first five.
type Faults struct {
	Count int
	Kinds map[Kind]int // how many of each
	First []Fault
}

const firstFaults = 5

// full tells whether further faults are only counted, so that they need no words.
func (f *Faults) full() bool { return f.Count >= firstFaults }

func (f *Faults) add(fault Fault) {
	if f.Count++; len(f.First) < firstFaults {
		f.First = append(f.First, fault)
	}
	if f.Kinds == nil {
		f.Kinds = map[Kind]int{}
	}
	f.Kinds[fault.Kind]++
}

// String names the first faults and counts the others; "" if there are none.
func (f Faults) String() string {
	var parts []string
	for _, fault := range f.First {
		parts = append(parts, fault.Error())
	}
	if n := f.Count - len(f.First); n > 0 {
		parts = append(parts, fmt.Sprintf("and %s more", quantity.Digits(n)))
	}
	return strings.Join(parts, "; ")
}

// Summary counts the faults of each kind, the most frequent first: "2 faults: unknown class (1), box of no area (1)".
func (f Faults) Summary() string {
	var kinds []Kind
	for k := range f.Kinds {
		kinds = append(kinds, k)
	}
	slices.SortFunc(kinds, func(a, b Kind) int {
		if n := f.Kinds[b] - f.Kinds[a]; n != 0 {
			return n
		}
		return strings.Compare(string(a), string(b))
	})
	parts := make([]string, len(kinds))
	for i, k := range kinds {
		parts[i] = fmt.Sprintf("%s (%s)", k, quantity.Digits(f.Kinds[k]))
	}
	return quantity.Count(f.Count, "fault", "faults") + ": " + strings.Join(parts, ", ")
}

// FaultsError says that a set was refused for its faults.
type FaultsError struct {
	Source string
	Faults Faults
}

func (e *FaultsError) Error() string {
	if e.Faults.Count == 1 {
		return e.Faults.String() + "; mend it, or have what is faulty skipped"
	}
	return fmt.Sprintf("%s; of these: %s; mend them, or have what is faulty skipped", e.Faults.Summary(), e.Faults)
}
