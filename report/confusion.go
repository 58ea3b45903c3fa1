package report

import (
	"cmp"
	"fmt"
	"html/template"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/thaw-ml/thaw/internal/quantity"
)

// How many classes a confusion matrix shows in which way.
const (
	mostInTable  = 12  // with its numbers
	mostInMatrix = 100 // as colours
	mostChosen   = 40  // of more classes: those that take part in the most mistakes
	mostConfused = 12  // pairs that are listed
)

// confusion is a confusion matrix, or the part of it that is shown.
type confusion struct {
	Classes []string // that are shown
	Of      int      // how many there are
	counts  [][]int  // by true and predicted class
	rows    []int    // samples of each true class, those predicted as classes that are not shown too
}

// confusion gives the matrix of the best epoch; nil where there are no classes, or no counts of them.
func (r *Run) confusion() *confusion {
	names, cells := r.confusionCells()
	if len(cells) == 0 {
		return nil
	}
	chosen := make([]int, len(names))
	for i := range chosen {
		chosen[i] = i
	}
	if len(names) > mostInMatrix {
		chosen = mostMistaken(cells, mostChosen)
	}
	c := &confusion{Of: len(names), rows: make([]int, len(chosen))}
	place := map[int]int{}
	for i, class := range chosen {
		place[class] = i
		c.Classes = append(c.Classes, names[class])
		c.counts = append(c.counts, make([]int, len(chosen)))
	}
	for _, cell := range cells {
		i, ok := place[cell.True]
		if !ok {
			continue
		}
		c.rows[i] += cell.Count
		if j, ok := place[cell.Predicted]; ok {
			c.counts[i][j] += cell.Count
		}
	}
	return c
}

// confusionCells are the counts of pairs of classes, of evaluation.json or, of up to 50 classes, summary.json.
func (r *Run) confusionCells() (names []string, cells []Cell) {
	if e := r.evaluation(); e != nil && len(e.Counts) > 0 {
		names = slices.Clone(e.Classes)
		for _, cell := range e.Counts {
			for n := len(names); n <= max(cell.True, cell.Predicted); n++ {
				names = append(names, fmt.Sprint(n))
			}
			if cell.True >= 0 && cell.Predicted >= 0 {
				cells = append(cells, cell)
			}
		}
		return names, cells
	}
	classes := r.perClass()
	if classes == nil {
		return nil, nil
	}
	for _, c := range classes.PerClass {
		names = append(names, c.Name)
	}
	for i, row := range classes.Confusion {
		for j, n := range row {
			if n > 0 && i < len(names) && j < len(names) {
				cells = append(cells, Cell{i, j, n})
			}
		}
	}
	return names, cells
}

// mostMistaken are the classes that take part in the most mistakes, in order.
func mostMistaken(cells []Cell, most int) []int {
	mistakes := map[int]int{}
	for _, c := range cells {
		if c.True != c.Predicted {
			mistakes[c.True] += c.Count
			mistakes[c.Predicted] += c.Count
		}
	}
	classes := make([]int, 0, len(mistakes))
	for class := range mistakes {
		classes = append(classes, class)
	}
	slices.SortFunc(classes, func(a, b int) int { return cmp.Or(mistakes[b]-mistakes[a], a-b) })
	classes = classes[:min(most, len(classes))]
	slices.Sort(classes)
	return classes
}

// pair is two classes that are confused.
type pair struct {
	True, Predicted string
	Count           int
	Share           string // of the true class's samples
}

// pairs are the pairs that are confused most often.
func (r *Run) pairs() (pairs []pair) {
	names, cells := r.confusionCells()
	if len(names) <= 4 { // the matrix says it at a glance
		return nil
	}
	rows := map[int]int{}
	var off []Cell
	for _, c := range cells {
		rows[c.True] += c.Count
		if c.True != c.Predicted {
			off = append(off, c)
		}
	}
	slices.SortStableFunc(off, func(a, b Cell) int { return b.Count - a.Count })
	for _, c := range off[:min(len(off), mostConfused)] {
		share := percent(float64(c.Count) / float64(rows[c.True]))
		pairs = append(pairs, pair{names[c.True], names[c.Predicted], c.Count, share})
	}
	return pairs
}

// Table reports whether the matrix is small enough to show its numbers.
func (c *confusion) Table() bool { return len(c.Classes) <= mostInTable }

// Small reports whether the matrix leaves room for something beside it.
func (c *confusion) Small() bool { return len(c.Classes) <= 4 }

// matrixCell is a cell of the table.
type matrixCell struct {
	Count string
	Title string
	Share string // of the true class, for the colour
	Dark  bool   // the text is to be light
	Right bool
}

type matrixRow struct {
	Class string
	Cells []matrixCell
	Rows  string
}

// Matrix is the table, a row for each true class.
func (c *confusion) Matrix() (rows []matrixRow) {
	for i, counts := range c.counts {
		row := matrixRow{Class: c.Classes[i], Rows: quantity.Digits(c.rows[i])}
		for j, n := range counts {
			share := c.share(i, j)
			row.Cells = append(row.Cells, matrixCell{
				Count: quantity.Digits(n), Share: fmt.Sprintf("%.2f", 0.9*share), Dark: share > 0.55, Right: i == j,
				Title: fmt.Sprintf("%s taken for %s: %d, %s of its samples", c.Classes[i], c.Classes[j], n, percent(share)),
			})
		}
		rows = append(rows, row)
	}
	return rows
}

// share is that of a class's samples that are predicted as another.
func (c *confusion) share(truth, predicted int) float64 {
	if c.rows[truth] == 0 {
		return 0
	}
	return float64(c.counts[truth][predicted]) / float64(c.rows[truth])
}

// SVG draws the matrix as colours.
func (c *confusion) SVG() template.HTML {
	n := len(c.Classes)
	cell := math.Max(8, math.Min(22, math.Floor(640/float64(n))))
	font := math.Min(11, cell-0.5)
	names := make([]string, n)
	longest := 0
	for i, name := range c.Classes {
		names[i] = shortened(name, 24)
		longest = max(longest, utf8.RuneCountInString(names[i]))
	}
	label := float64(longest)*font*0.58 + 8
	side := cell * float64(n)
	width, height := label+side+10, label+side+10
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %.0f %.0f" style="width:%.0fpx" role="img" aria-label="Confusion matrix of %d classes">`,
		width, height, width, n)
	fmt.Fprintf(&b, `<rect class="frame" x="%.1f" y="%.1f" width="%.1f" height="%.1f"/>`, label, label, side, side)
	for i, name := range names {
		at := label + cell*(float64(i)+0.5)
		fmt.Fprintf(&b, `<text class="name" style="font-size:%.1fpx" x="%.1f" y="%.1f" text-anchor="end">%s</text>`,
			font, label-5, at+font*0.35, escape(name))
		fmt.Fprintf(&b, `<text class="name" style="font-size:%.1fpx" transform="translate(%.1f %.1f) rotate(-90)">%s</text>`,
			font, at+font*0.35, label-5, escape(name))
	}
	for i, counts := range c.counts {
		for j, count := range counts {
			if count == 0 {
				continue
			}
			class := "heat"
			if i != j {
				class = "heat wrong"
			}
			// The root brings out what is rare, which is what one looks for.
			fmt.Fprintf(&b, `<rect class="%s" x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill-opacity="%.2f"><title>%s → %s: %d (%s)</title></rect>`,
				class, label+cell*float64(j), label+cell*float64(i), cell, cell, 0.08+0.92*math.Sqrt(c.share(i, j)),
				escape(shortened(c.Classes[i], 60)), escape(shortened(c.Classes[j], 60)), count, percent(c.share(i, j)))
		}
	}
	b.WriteString(`</svg>`)
	return template.HTML(b.String())
}

// shortened cuts a name to so many characters.
func shortened(name string, most int) string {
	if utf8.RuneCountInString(name) <= most {
		return name
	}
	runes := []rune(name)
	return string(runes[:most-1]) + "…"
}
