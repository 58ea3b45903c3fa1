package metric

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// MostClasses is up to how many classes a confusion matrix is made: it grows with their square.
const MostClasses = 50

// mostConfusions is how many confused pairs are listed in place of a matrix.
const mostConfusions = 20

// Classes sums up each class.
type Classes struct {
	PerClass []ClassScore `json:"classes"`
	// Confusion counts [true class][predicted class]; nil where there are more than MostClasses classes, or where a
	// sample has several labels.
	Confusion [][]int `json:"confusion,omitempty"`
	// MostConfused are the pairs of classes that are confused most, where there is no matrix.
	MostConfused []ConfusedPair `json:"most_confused,omitempty"`
}

// ClassScore is how well one class does.
type ClassScore struct {
	Name      string  `json:"name"`
	Precision float64 `json:"precision"` // 0 where the class was never predicted
	Recall    float64 `json:"recall"`    // 0 where the class has no samples
	F1        float64 `json:"f1"`
	Support   int     `json:"support"` // samples of the class
}

// ConfusedPair counts samples of one class that were taken for another.
type ConfusedPair struct {
	True      string `json:"true"`
	Predicted string `json:"predicted"`
	Count     int    `json:"count"`
}

// put writes the fields of a JSON object.
func (c *Classes) put(put func(name string, value any) error) error {
	if err := put("classes", c.PerClass); err != nil {
		return err
	}
	if c.Confusion != nil {
		return put("confusion", c.Confusion)
	}
	if c.MostConfused != nil {
		return put("most_confused", c.MostConfused)
	}
	return nil
}

// counts are Counts with names, and with the pairs of classes that were confused.
type counts struct {
	*Counts
	names    []string
	confused map[[2]int]int // predictions by true and predicted class
}

func newCounts(names []string, classes int) *counts {
	return &counts{Counts: NewCounts(classes), names: names, confused: map[[2]int]int{}}
}

func (c *counts) add(truth, predicted int) {
	c.Add(truth, predicted)
	if truth != predicted {
		c.confused[[2]int{truth, predicted}]++
	}
}

// nameOf is the name of a class, or its number where the classes have no names.
func nameOf(names []string, class int) string {
	if names == nil {
		return strconv.Itoa(class)
	}
	return names[class]
}

func (c *counts) name(class int) string { return nameOf(c.names, class) }

func (c *counts) classes() *Classes {
	out := &Classes{PerClass: make([]ClassScore, len(c.Support))}
	for i := range c.Support {
		out.PerClass[i] = classScore(c.name(i), c.Counts, i)
	}
	if len(c.Support) <= MostClasses {
		out.Confusion = make([][]int, len(c.Support))
		for i := range out.Confusion {
			out.Confusion[i] = make([]int, len(c.Support))
			out.Confusion[i][i] = c.Hits[i]
		}
		for pair, n := range c.confused {
			out.Confusion[pair[0]][pair[1]] = n
		}
		return out
	}
	pairs := make([][2]int, 0, len(c.confused))
	for pair := range c.confused {
		pairs = append(pairs, pair)
	}
	slices.SortFunc(pairs, func(a, b [2]int) int {
		return cmp.Or(c.confused[b]-c.confused[a], a[0]-b[0], a[1]-b[1])
	})
	for _, pair := range pairs[:min(len(pairs), mostConfusions)] {
		out.MostConfused = append(out.MostConfused, ConfusedPair{c.name(pair[0]), c.name(pair[1]), c.confused[pair]})
	}
	return out
}

func classScore(name string, c *Counts, class int) ClassScore {
	return ClassScore{name, c.ClassPrecision(class), c.ClassRecall(class), c.ClassF1(class), c.Support[class]}
}

// String is a table for people: the confusion matrix, a line a true class, or precision, recall and F1 of each class
// with samples and then the pairs that are confused most.
func (c *Classes) String() string {
	var b strings.Builder
	if c.Confusion != nil {
		c.writeMatrix(&b)
		return b.String()
	}
	width := len("class")
	for _, s := range c.PerClass {
		width = max(width, min(40, utf8.RuneCountInString(s.Name)))
	}
	fmt.Fprintf(&b, "%-*s  precision  recall      f1  rows\n", width, "class")
	shown := 0
	for _, s := range c.PerClass {
		if s.Support == 0 {
			continue
		}
		if shown++; shown > MostClasses {
			fmt.Fprintf(&b, "... and more; --json lists all %d classes\n", len(c.PerClass))
			break
		}
		fmt.Fprintf(&b, "%-*s  %9.4f  %6.4f  %6.4f  %4d\n", width, s.Name, s.Precision, s.Recall, s.F1, s.Support)
	}
	if len(c.MostConfused) > 0 {
		b.WriteString("\nmost confused\n")
		for _, p := range c.MostConfused {
			fmt.Fprintf(&b, "%6d  %s taken for %s\n", p.Count, p.True, p.Predicted)
		}
	}
	return b.String()
}

func (c *Classes) writeMatrix(b *strings.Builder) {
	const corner = "true \\ predicted"
	width := len(corner)
	for _, s := range c.PerClass {
		width = max(width, utf8.RuneCountInString(s.Name))
	}
	fmt.Fprintf(b, "%-*s", width, corner)
	for _, s := range c.PerClass {
		fmt.Fprintf(b, "  %*s", max(6, utf8.RuneCountInString(s.Name)), s.Name)
	}
	b.WriteByte('\n')
	for i, row := range c.Confusion {
		fmt.Fprintf(b, "%-*s", width, c.PerClass[i].Name)
		for j, n := range row {
			fmt.Fprintf(b, "  %*d", max(6, utf8.RuneCountInString(c.PerClass[j].Name)), n)
		}
		b.WriteByte('\n')
	}
}
