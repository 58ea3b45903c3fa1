package safetensors

import (
	"fmt"
	"strings"
)

// Error says what is wrong with a file's content. Failures of the operating system are not wrapped
// in it.
type Error struct {
	File   string
	Tensor string // the key it is about, if any
	Offset int64  // the byte in File where the problem starts, -1 when it is about no single place
	Msg    string
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Offset >= 0 {
		fmt.Fprintf(&b, ": byte %d", e.Offset)
	}
	if e.Tensor != "" {
		fmt.Fprintf(&b, ": tensor %s", quote(e.Tensor))
	}
	b.WriteString(": " + e.Msg)
	return b.String()
}

// quote quotes a string that came from a file, shortened: an error must stay one paragraph whatever
// the file holds.
func quote(s string) string {
	const most = 200
	if len(s) > most {
		return fmt.Sprintf("%q... (%d bytes)", s[:most], len(s))
	}
	return fmt.Sprintf("%q", s)
}
