package tokenizer

import (
	"unicode"
	"unicode/utf8"
)

// AddedToken is a token that is found in the text itself, before it is split into words.
type AddedToken struct {
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"` // only where no word character stands beside it
	LStrip     bool   `json:"lstrip"`      // takes the white space on its left with it
	RStrip     bool   `json:"rstrip"`      // takes the white space on its right with it
	Normalized bool   `json:"normalized"`  // is found in the normalized text, in normalized form
	Special    bool   `json:"special"`     // is left out by Decode
}

// matcher finds added tokens: the leftmost, of several there the longest.
type matcher struct {
	patterns *trie
	starts   [256]bool // first bytes of the patterns
	tokens   map[int32]AddedToken
}

// newMatcher returns nil when there are no patterns.
func newMatcher(patterns []trieEntry, tokens map[int32]AddedToken) *matcher {
	if len(patterns) == 0 {
		return nil
	}
	m := &matcher{patterns: newTrie(patterns), tokens: tokens}
	for _, p := range patterns {
		if p.key != "" {
			m.starts[p.key[0]] = true
		}
	}
	return m
}

// match is an added token found at text[start:end], stripped white space included.
type match struct {
	id         int32
	start, end int
}

// next returns the first added token at or after from. done is where the text is already taken
// by the match before; resume is from where to look for the following one.
func next[T string | []byte](m *matcher, text T, from, done int) (found match, resume int, ok bool) {
	for i := from; i < len(text); i++ {
		if !m.starts[text[i]] {
			continue
		}
		n, id := longest(m.patterns, text, i)
		if n == 0 {
			continue
		}
		start, end := i, i+n
		resume = end
		i = end - 1
		token := m.tokens[id]
		if token.SingleWord && (wordBefore(text, start) || wordAfter(text, end)) {
			continue
		}
		if token.LStrip {
			for start > done {
				r, size := lastRune(text[:start])
				if !unicode.IsSpace(r) {
					break
				}
				start -= size
			}
			start = max(start, done)
		}
		if token.RStrip {
			for end < len(text) {
				r, size := firstRune(text[end:])
				if !unicode.IsSpace(r) {
					break
				}
				end += size
			}
		}
		return match{id, start, end}, resume, true
	}
	return match{}, len(text), false
}

func firstRune[T string | []byte](s T) (rune, int) {
	return utf8.DecodeRune([]byte(s[:min(len(s), utf8.UTFMax)]))
}

func lastRune[T string | []byte](s T) (rune, int) {
	return utf8.DecodeLastRune([]byte(s[max(0, len(s)-utf8.UTFMax):]))
}

func wordBefore[T string | []byte](text T, at int) bool {
	r, size := lastRune(text[:at])
	return size > 0 && isWord(r)
}

func wordAfter[T string | []byte](text T, at int) bool {
	r, size := firstRune(text[at:])
	return size > 0 && isWord(r)
}

// isWord is \w as the reference's regular expressions have it (Unicode Technical Standard 18,
// annex C): Alphabetic, Mark, decimal digits, connector punctuation, joiners.
func isWord(r rune) bool {
	return unicode.In(r, unicode.L, unicode.Nl, unicode.M, unicode.Nd, unicode.Pc, unicode.Other_Alphabetic) ||
		r == '\u200C' || r == '\u200D'
}
