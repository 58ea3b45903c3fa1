package pth

import (
	"fmt"
	"strings"
)

// Error says what is wrong with a file's content. Failures of the operating system are not wrapped in it.
type Error struct {
	File   string
	Record string // the zip entry it is about, if any, such as "archive/data.pkl"
	Tensor string // the key it is about, if any
	Offset int64  // the byte in Record, or in File when there is none, where the problem starts; -1 for no single place
	Msg    string
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Record != "" {
		b.WriteString(": " + plain(e.Record))
	}
	if e.Offset >= 0 {
		fmt.Fprintf(&b, ": byte %d", e.Offset)
	}
	if e.Tensor != "" {
		b.WriteString(": tensor " + quote(e.Tensor))
	}
	b.WriteString(": " + e.Msg)
	return b.String()
}

// quote quotes a string that came from a file, shortened: an error must stay one paragraph whatever the file holds.
func quote(s string) string {
	const most = 200
	if len(s) > most {
		return fmt.Sprintf("%q... (%d bytes)", s[:most], len(s))
	}
	return fmt.Sprintf("%q", s)
}

// plain leaves names of letters, digits and the like as they are and quotes the rest.
func plain(s string) string {
	odd := func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && !strings.ContainsRune("_./-", r)
	}
	if s == "" || len(s) > 200 || strings.ContainsFunc(s, odd) {
		return quote(s)
	}
	return s
}
