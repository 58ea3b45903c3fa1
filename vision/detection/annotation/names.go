package annotation

import (
	"fmt"
	"slices"
	"strings"

	"github.com/thaw-ml/thaw/internal/labels"
	"github.com/thaw-ml/thaw/internal/quantity"
	"github.com/thaw-ml/thaw/internal/suggest"
)

// maxClasses is how many classes names may make.
const maxClasses = 10_000

// className is the position of a name in the builder's classes, to which it is added if it is new.
func (b *builder) className(names map[string]int, name string) (int, error) {
	if i, known := names[name]; known {
		return i, nil
	}
	if len(b.classes) == maxClasses {
		return 0, fmt.Errorf("there are more than %s classes, the last is %s: are these names of classes?",
			quantity.Digits(maxClasses), suggest.Quote(name))
	}
	name = strings.Clone(name)
	names[name] = len(b.classes)
	b.classes = append(b.classes, name)
	return names[name], nil
}

// sortClasses puts the classes that were found into an order: by value if all are whole numbers, by their bytes else.
// Options.Classes has an order of its own.
func (b *builder) sortClasses() {
	sorted := slices.Clone(b.classes)
	labels.Sort(sorted)
	at := make(map[string]int, len(sorted))
	b.ids = nil
	for i, c := range sorted {
		at[c] = i
		b.ids = append(b.ids, int64(i+1))
	}
	for i := range b.boxes {
		b.boxes[i].Class = at[b.classes[b.boxes[i].Class]]
	}
	b.classes = sorted
	if b.Classes == nil && len(sorted) > 0 {
		b.note("classes are numbered as their names are sorted: %s", suggest.List(sorted))
	}
}
