// Package suggest words the part of an error that helps: the name that was likely meant, and what
// there is to choose from. What it quotes is shortened, for an error must stay one paragraph
// whatever a file holds.
package suggest

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// DidYouMean returns a clause that proposes the name nearest to the one given, or nothing when none
// is near.
func DidYouMean(given string, names []string) string {
	if name := Nearest(given, names); name != "" {
		return fmt.Sprintf("; did you mean %q?", name)
	}
	return ""
}

// Nearest returns the name nearest to the one given, the first of several, or "" when none is near:
// at most a third of the characters of the given name may differ, letter case aside.
func Nearest(given string, names []string) string {
	const longest = 100 // the distance is quadratic, and a label may be a whole text by mistake
	if len(given) > longest {
		return ""
	}
	best, nearest := "", 1+max(1, (utf8.RuneCountInString(given)+1)/3)
	for _, name := range names {
		if len(name) > longest {
			continue
		}
		if strings.EqualFold(strings.TrimSpace(given), strings.TrimSpace(name)) {
			return name
		}
		if d := distance(strings.ToLower(given), strings.ToLower(name)); d < nearest {
			best, nearest = name, d
		}
	}
	return best
}

// distance is that of optimal string alignment: how many characters to insert, delete, replace, or exchange with the
// next.
func distance(a, b string) int {
	from, to := []rune(a), []rune(b)
	row := make([]int, len(to)+1) // the distances of the beginning of a from the beginnings of b
	for j := range row {
		row[j] = j
	}
	before, twoBefore := make([]int, len(row)), make([]int, len(row)) // those of the beginnings one and two shorter
	for i := range from {
		twoBefore, before, row = before, row, twoBefore
		row[0] = i + 1
		for j := range to {
			cost := before[j]
			if from[i] != to[j] {
				cost++
			}
			row[j+1] = min(cost, row[j]+1, before[j+1]+1)
			if i > 0 && j > 0 && from[i] == to[j-1] && from[i-1] == to[j] {
				row[j+1] = min(row[j+1], twoBefore[j-1]+1)
			}
		}
	}
	return row[len(to)]
}

// List names the first 20 of many, quoted.
func List(names []string) string {
	const most = 20
	quoted := make([]string, 0, most+1)
	for i, n := range names {
		if i == most {
			quoted = append(quoted, fmt.Sprintf("and %d more", len(names)-most))
			break
		}
		quoted = append(quoted, Quote(n))
	}
	if len(quoted) == 0 {
		return "none"
	}
	return strings.Join(quoted, ", ")
}

// Quote quotes a string from a file, shortened.
func Quote(s string) string {
	if short := Shorten(s); short != s {
		return fmt.Sprintf("%q...", strings.TrimSuffix(short, "..."))
	}
	return fmt.Sprintf("%q", s)
}

// Shorten cuts after 60 characters.
func Shorten(s string) string {
	const most = 60
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most]) + "..."
}
