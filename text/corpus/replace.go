package corpus

import (
	"strings"
	"unicode/utf8"
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
	for len(s) > 0 {
		if r, n := utf8.DecodeRuneInString(s); r != utf8.RuneError || n > 1 {
			b.WriteString(s[:n])
			s = s[n:]
			continue
		}
		b.WriteRune(utf8.RuneError)
		s = s[subpart(s):]
	}
	return b.String(), true
}

// subpart returns the length of the longest beginning of s, at least 1, that could have gone on to
// a character. s must not begin with a whole one.
func subpart(s string) int {
	// The second byte's range and the length, by first byte: Unicode 16, table 3-7.
	low, high, length := byte(0x80), byte(0xbf), 1
	switch c := s[0]; {
	case 0xc2 <= c && c <= 0xdf:
		length = 2
	case 0xe0 <= c && c <= 0xef:
		length = 3
		if c == 0xe0 {
			low = 0xa0
		} else if c == 0xed {
			high = 0x9f
		}
	case 0xf0 <= c && c <= 0xf4:
		length = 4
		if c == 0xf0 {
			low = 0x90
		} else if c == 0xf4 {
			high = 0x8f
		}
	}
	n := 1
	for n < min(length, len(s)) && low <= s[n] && s[n] <= high {
		n++
		low, high = 0x80, 0xbf
	}
	return n
}
