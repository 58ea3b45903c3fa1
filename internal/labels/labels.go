// Package labels orders the labels that data files hold.
package labels

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// Sort sorts labels by value when all are whole numbers, so that 10 comes after 9, and by their bytes otherwise.
func Sort(labels []string) {
	numbers := !slices.ContainsFunc(labels, func(label string) bool {
		_, err := strconv.ParseInt(label, 10, 64)
		return err != nil
	})
	slices.SortFunc(labels, func(a, b string) int {
		if numbers {
			x, _ := strconv.ParseInt(a, 10, 64)
			y, _ := strconv.ParseInt(b, 10, 64)
			if x != y {
				return cmp.Compare(x, y)
			}
		}
		return strings.Compare(a, b)
	})
}
