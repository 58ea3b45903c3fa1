// Package columns lays out tables for a terminal.
package columns

import "strings"

// Format gives rows, which have as many cells as the first, with columns that are as wide as they must be, in
// characters, and two spaces apart. Each ends with a line feed; spaces at its end are left out.
func Format(rows [][]string) string {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	var out strings.Builder
	for _, row := range rows {
		line := ""
		for i, cell := range row {
			line += cell + strings.Repeat(" ", widths[i]-len([]rune(cell))+2)
		}
		out.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return out.String()
}
