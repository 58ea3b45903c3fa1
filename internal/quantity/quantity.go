// Package quantity writes numbers of things as people do: "1 picture", "9,544 rows".
package quantity

import (
	"fmt"
	"strconv"
)

// Digits writes a whole number with a comma between thousands: 9,544.
func Digits(n int) string {
	s := strconv.Itoa(n)
	first := 0 // of the digits
	if n < 0 {
		first = 1
	}
	for i := len(s) - 3; i > first; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Count writes a number and what it is of, one or many of them: Count(1, "batch", "batches") is "1 batch".
func Count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return Digits(n) + " " + many
}

// Bytes writes a size: 365 MB, 1.4 GB. What is below a gigabyte counts in megabytes that have begun.
func Bytes(n int64) string {
	if n >= 1e9 {
		return fmt.Sprintf("%.1f GB", float64(n)/1e9)
	}
	return fmt.Sprintf("%d MB", (n+999_999)/1e6)
}
