package corpus

import (
	"strings"
	"unicode/utf8"

	"github.com/thaw-ml/thaw/internal/utf8text"
)

// replaceInvalid returns s with U+FFFD for what is not UTF-8, and whether there was any. As in
// Python's errors="replace", one U+FFFD stands for each maximal subpart (Unicode 16, section 3.9,
// table 3-8): a sequence that begins right and breaks off counts as one. Package strings would
// merge neighbours, and a loop over the runes replace byte by byte.
func replaceInvalid(s string) (string, bool) {
	if utf8.ValidString(s) {
		return s, false
	}
	var b strings.Builder
	b.Grow(len(s) + 16)
	for i := 0; i < len(s); {
		r, n := utf8text.Decode(s, i)
		b.WriteRune(r)
		i += n
	}
	return b.String(), true
}
