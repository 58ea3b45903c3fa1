package tokenizer

import "strings"

// wordPiece is the model: greedy longest match, first over whole-word tokens, then over those
// that continue a word.
type wordPiece struct {
	vocab      map[string]int32
	tokens     map[int32]string
	initial    *trie // every token
	continuing *trie // tokens with the continuing prefix, without it
	unknown    int32
	maxChars   int // a word of more characters is unknown as a whole
}

func newWordPiece(vocab map[string]int32, unknown int32, prefix string, maxChars int) *wordPiece {
	m := &wordPiece{vocab: vocab, tokens: make(map[int32]string, len(vocab)), unknown: unknown, maxChars: maxChars}
	whole := make([]trieEntry, 0, len(vocab))
	var rest []trieEntry
	for token, id := range vocab {
		if other, ok := m.tokens[id]; !ok || token < other {
			m.tokens[id] = token
		}
		whole = append(whole, trieEntry{token, id})
		if tail, ok := strings.CutPrefix(token, prefix); ok {
			rest = append(rest, trieEntry{tail, id})
		}
	}
	m.initial, m.continuing = newTrie(whole), newTrie(rest)
	return m
}

// appendPieces appends the ids of word's pieces and where in word each ends, and reports whether
// word is made of tokens at all.
func (m *wordPiece) appendPieces(ids []int64, ends []int, word []byte) ([]int64, []int, bool) {
	pieces := m.initial
	for at := 0; at < len(word); pieces = m.continuing {
		n, id := longest(pieces, word, at)
		if n == 0 {
			return ids, ends, false
		}
		at += n
		ids, ends = append(ids, int64(id)), append(ends, at)
	}
	return ids, ends, true
}
