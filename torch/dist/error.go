package dist

import (
	"fmt"
	"strings"
)

// Error is something that ranks could not do together.
type Error struct {
	Rank, Size int    // where it happened
	Doing      string // what was being done, as in "adding up gradients"
	Peers      string // which ranks failed or do not answer, where that is known
	Err        error
}

func (e *Error) Error() string {
	parts := []string{fmt.Sprintf("rank %d of %d, %s", e.Rank, e.Size, e.Doing)}
	if e.Peers != "" {
		parts = append(parts, e.Peers)
	}
	if e.Err != nil {
		parts = append(parts, e.Err.Error())
	}
	return strings.Join(parts, ": ")
}

// Unwrap gives Err.
func (e *Error) Unwrap() error { return e.Err }
