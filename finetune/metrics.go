package finetune

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Metrics is how well a classifier does on a data set.
type Metrics struct {
	Loss      float64 `json:"loss"` // mean cross-entropy, without smoothing
	Accuracy  float64 `json:"accuracy"`
	MacroF1   float64 `json:"macro_f1"` // the mean of the classes' F1 scores
	Rows      int     `json:"rows"`
	Confusion [][]int `json:"confusion,omitempty"` // [true class][predicted class]
}

// confusion counts predictions.
type confusion [][]int

func newConfusion(classes int) confusion {
	c := make(confusion, classes)
	for i := range c {
		c[i] = make([]int, classes)
	}
	return c
}

// metrics sums up. A class that is neither in the data nor predicted has F1 0, as in scikit-learn's f1_score with
// average="macro" and every class among its labels.
func (c confusion) metrics(loss float64) Metrics {
	m := Metrics{Confusion: c}
	hits := 0
	predicted := make([]int, len(c))
	for _, row := range c {
		for j, n := range row {
			m.Rows += n
			predicted[j] += n
		}
	}
	for i, row := range c {
		actual := 0
		for _, n := range row {
			actual += n
		}
		hits += row[i]
		if both := actual + predicted[i]; both > 0 {
			m.MacroF1 += 2 * float64(row[i]) / float64(both) / float64(len(c))
		}
	}
	if m.Rows > 0 {
		m.Accuracy = float64(hits) / float64(m.Rows)
		m.Loss = loss / float64(m.Rows)
	}
	return m
}

// Table writes the confusion matrix, a line a true class.
func (m Metrics) Table(classes []string) string {
	width := len("true \\ predicted")
	for _, c := range classes {
		width = max(width, utf8.RuneCountInString(c))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%-*s", width, "true \\ predicted")
	for _, c := range classes {
		fmt.Fprintf(&b, "  %*s", max(6, utf8.RuneCountInString(c)), c)
	}
	b.WriteByte('\n')
	for i, row := range m.Confusion {
		fmt.Fprintf(&b, "%-*s", width, classes[i])
		for j, n := range row {
			fmt.Fprintf(&b, "  %*d", max(6, utf8.RuneCountInString(classes[j])), n)
		}
		b.WriteByte('\n')
	}
	return b.String()
}
