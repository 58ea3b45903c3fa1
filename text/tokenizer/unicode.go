package tokenizer

import (
	_ "embed"
	"fmt"
	"strconv"
	"strings"
)

// unicodeTable says what the reference does to each code point. The reference mixes Unicode
// versions and Go's own tables change with Go, so neither may be asked instead.
//
//go:embed unicode.txt
var unicodeTable string

const maxRune = 0x10FFFF

// property is a set of what the reference knows of a code point.
type property uint8

const (
	isControl     property = 1 << iota // removed by clean_text
	isBlank                            // made a space by clean_text
	isChinese                          // set apart by handle_chinese_chars
	isSpace                            // splits words and is dropped
	isPunctuation                      // is a word of its own
	isMark                             // removed by strip_accents
	isMapped                           // has an entry in one of the maps of codePoints
)

var propertyNames = map[string]property{
	"control": isControl, "blank": isBlank, "chinese": isChinese,
	"space": isSpace, "punctuation": isPunctuation, "mark": isMark,
	"class": isMapped, "lower": isMapped, "decompose": isMapped,
}

// codePoints is the parsed unicodeTable.
type codePoints struct {
	properties []property      // by code point
	class      map[rune]uint8  // canonical combining class, where it is not 0
	lower      map[rune][]rune // lowercase, where it differs
	decomposed map[rune][]rune // full NFD, where it differs; Hangul syllables are not listed
}

// hangulBase and hangulEnd bound the syllables, which decompose by rule.
const hangulBase, hangulEnd = 0xAC00, 0xD7A4

// parseCodePoints reads unicodeTable. The table is part of the program and tested, so what is
// wrong in it panics.
func parseCodePoints() *codePoints {
	cp := &codePoints{
		properties: make([]property, maxRune+1),
		class:      map[rune]uint8{},
		lower:      map[rune][]rune{},
		decomposed: map[rune][]rune{},
	}
	for line := range strings.Lines(unicodeTable) {
		if line[0] == '#' {
			continue
		}
		name, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		span, value, _ := strings.Cut(rest, " ")
		first, last, stride := parseSpan(span)
		for r := first; r <= last; r += stride {
			cp.properties[r] |= propertyNames[name]
			switch name {
			case "class":
				cp.class[r] = uint8(mustParse(value, 10))
			case "lower":
				if value[0] == '+' || value[0] == '-' {
					cp.lower[r] = []rune{r + mustParse(value, 10)}
				} else {
					cp.lower[r] = parseRunes(value)
				}
			case "decompose":
				cp.decomposed[r] = parseRunes(value)
			}
		}
	}
	return cp
}

// parseSpan reads FIRST[-LAST][/STRIDE].
func parseSpan(s string) (first, last, stride rune) {
	s, step, ok := strings.Cut(s, "/")
	stride = 1
	if ok {
		stride = mustParse(step, 10)
	}
	from, to, ok := strings.Cut(s, "-")
	first = mustParse(from, 16)
	last = first
	if ok {
		last = mustParse(to, 16)
	}
	return first, last, stride
}

func parseRunes(s string) []rune {
	fields := strings.Fields(s)
	runes := make([]rune, len(fields))
	for i, f := range fields {
		runes[i] = mustParse(f, 16)
	}
	return runes
}

func mustParse(s string, base int) rune {
	n, err := strconv.ParseInt(s, base, 32)
	if err != nil {
		panic(fmt.Sprintf("tokenizer: unicode.txt: %v", err))
	}
	return rune(n)
}

// nfd returns r's full canonical decomposition. The result is valid until buf is used again.
func (cp *codePoints) nfd(r rune, buf []rune) []rune {
	if r >= hangulBase && r < hangulEnd {
		// The Unicode Standard, section 3.12, "Hangul Syllable Decomposition".
		s := r - hangulBase
		buf = append(buf[:0], 0x1100+s/588, 0x1161+s%588/28)
		if tail := s % 28; tail != 0 {
			buf = append(buf, 0x11A7+tail)
		}
		return buf
	}
	if d, ok := cp.decomposed[r]; ok {
		return d
	}
	return append(buf[:0], r)
}

func (cp *codePoints) lowered(r rune, buf []rune) []rune {
	if l, ok := cp.lower[r]; ok {
		return l
	}
	return append(buf[:0], r)
}
