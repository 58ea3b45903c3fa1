// Package undo takes back what a function made that did not come to its end.
package undo

// Unless runs undo where *done is false. A constructor defers it before its first step and sets done behind the last:
// what an error or a panic left half made is freed.
//
//	done := false
//	defer undo.Unless(&done, x.Close)
//	...
//	done = true
func Unless(done *bool, undo func()) {
	if !*done {
		undo()
	}
}
