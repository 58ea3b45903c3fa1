// Package utf8text reads text that may not be UTF-8 as Python does with errors="replace".
package utf8text

import "unicode/utf8"

// Decode reads the character at s[i:]. Bytes that are not UTF-8 read as U+FFFD, one for each
// maximal subpart of a character (The Unicode Standard, section 3.9, table 3-11), which is what
// Python's bytes.decode("utf-8", "replace") does; Go by itself would give one for each byte.
func Decode(s string, i int) (r rune, size int) {
	r, size = utf8.DecodeRuneInString(s[i:])
	if r != utf8.RuneError || size != 1 {
		return r, size
	}
	lead, low, high := s[i], byte(0x80), byte(0xBF)
	var want int // continuation bytes
	switch {
	case lead >= 0xC2 && lead <= 0xDF:
		want = 1
	case lead >= 0xE0 && lead <= 0xEF:
		want = 2
		if lead == 0xE0 {
			low = 0xA0
		} else if lead == 0xED {
			high = 0x9F
		}
	case lead >= 0xF0 && lead <= 0xF4:
		want = 3
		if lead == 0xF0 {
			low = 0x90
		} else if lead == 0xF4 {
			high = 0x8F
		}
	}
	for n := 1; n <= want && i+n < len(s); n++ {
		if c := s[i+n]; c < low || c > high {
			break
		}
		low, high = 0x80, 0xBF
		size++
	}
	return r, size
}
