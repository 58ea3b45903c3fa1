package preflight

import (
	"fmt"
	"math"
	"strings"

	"github.com/thaw-ml/thaw/internal/quantity"
	"github.com/thaw-ml/thaw/internal/suggest"
)

// normal95 is the 97.5th percentile of the normal distribution.
const normal95 = 1.959963984540054

// IntervalWidth is the width of the 95 % interval of a share that n samples gave (Wilson 1927): 0.06 are 6 points.
func IntervalWidth(share float64, n int) float64 {
	if n == 0 {
		return 1
	}
	z2, m := normal95*normal95, float64(n)
	return 2 * normal95 * math.Sqrt(share*(1-share)/m+z2/(4*m*m)) / (1 + z2/m)
}

// enough is the number of samples with which the interval of any share is no wider than width.
func enough(width float64) int {
	n := 1
	for IntervalWidth(0.5, n) > width {
		n += max(1, n/100)
	}
	for n > 1 && IntervalWidth(0.5, n-1) <= width {
		n--
	}
	return n
}

// CheckTestSize notes a test set whose score has a 95 % interval wider than 5 points. For an accuracy that is fewer
// than 1,533 samples where it is one half, and 553 where it is 0.9; the finding tells the width for both. metric is
// what the best epoch is chosen by: of one that averages over classes the smallest class is told too.
func (r *Report) CheckTestSize(metric string, p Problem) {
	n := r.Test
	if n == 0 {
		return
	}
	if p.Number {
		r.checkCorrelation(n)
		return
	}
	worst, usual := IntervalWidth(0.5, n), IntervalWidth(0.9, n)
	if worst <= tolerance {
		return
	}
	text := fmt.Sprintf("%s to test on: the 95 %% interval of an accuracy of 0.5 is %.1f points wide, of 0.9 %.1f points; below 5 points from %s on",
		quantity.Count(n, "sample", "samples"), 100*worst, 100*usual, quantity.Digits(enough(tolerance)))
	if averages(metric) {
		if c := r.smallest(); c != nil && c.Test < n {
			text += fmt.Sprintf("; %s averages over classes, and %s has %s: the recall's interval is up to %.0f points wide",
				metric, suggest.Quote(c.Name), quantity.Count(c.Test, "test sample", "test samples"), 100*IntervalWidth(0.5, c.Test))
		}
	}
	r.add(Finding{Name: SmallTest, Grade: Warning, Count: n, Text: text})
}

// averages tells whether a metric is a mean over classes.
func averages(metric string) bool {
	return strings.HasPrefix(metric, "macro") || strings.HasPrefix(metric, "balanced")
}

// smallest is the class with the fewest test samples that has any.
func (r *Report) smallest() (least *Class) {
	for i, c := range r.Classes {
		if c.Test > 0 && (least == nil || c.Test < least.Test) {
			least = &r.Classes[i]
		}
	}
	return least
}

// checkCorrelation is CheckTestSize for numbers: of what a regression gives only a correlation is between 0 and 1.
// Fisher's z (1921) has the standard error 1/sqrt(n-3).
func (r *Report) checkCorrelation(n int) {
	half := math.Inf(1)
	if n > 3 {
		half = normal95 / math.Sqrt(float64(n-3))
	}
	width := math.Tanh(math.Atanh(0.8)+half) - math.Tanh(math.Atanh(0.8)-half)
	if n > 3 && width <= tolerance {
		return
	}
	r.add(Finding{Name: SmallTest, Grade: Warning, Count: n, Text: fmt.Sprintf(
		"%s to test on: the 95 %% interval of a correlation of 0.8 is %.1f points wide", quantity.Count(n, "sample", "samples"), 100*width)})
}
