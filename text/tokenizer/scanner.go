package tokenizer

import (
	"slices"
	"unicode/utf8"

	"github.com/thaw-ml/thaw/internal/utf8text"
)

// scanner walks a text once: it normalizes, splits into words and looks these up as it goes. It
// is scratch space that a Tokenizer keeps in a pool.
type scanner struct {
	t       *Tokenizer
	offsets bool // fill spans
	limit   int  // stop soon after ids have this length; negative: none
	done    bool // the limit was reached

	ids   []int64
	spans [][2]int // with offsets: the bytes of the text that each of ids stands for

	// The word under way. Of a word longer than the model takes only the count goes on.
	word       []byte
	ends       []int // where the pieces of the word last looked up end
	chars      int
	origins    [][2]int // with offsets: for each byte of word, its character's place in the text
	start, end int      // with offsets: place of the whole word in the text

	// Characters with a combining class since the last starter, to be put in canonical order.
	run     []follower
	sources [][2]int // places of those of run that stand for a character of the text

	// With normalized added tokens, characters are kept here instead of making words at once.
	collect   bool
	collected []character
}

// follower is an atom with a combining class.
type follower struct {
	atom    *atom // nil: removed by strip_accents
	class   uint8
	first   bool
	ordinal int
}

// character is a normalized character and its place in the text.
type character struct {
	r      rune
	kind   kind
	origin [2]int
}

func (s *scanner) reset(ids []int64, offsets bool, limit int) {
	s.offsets, s.limit, s.done, s.ids, s.spans = offsets, limit, false, ids, s.spans[:0]
	s.word, s.origins, s.chars = s.word[:0], s.origins[:0], 0
	s.run, s.sources, s.collected = s.run[:0], s.sources[:0], s.collected[:0]
}

// scan tokenizes text[from:to], which holds no added token that is matched before normalization.
// It reports whether it went to the end, rather than reaching the limit.
func (s *scanner) scan(text string, from, to int) bool {
	rules := s.t.rules
	for i := from; i < to; {
		b := text[i]
		if b >= utf8.RuneSelf {
			r, size := utf8text.Decode(text[:to], i)
			s.normalize(rules.of(r), r, [2]int{i, i + size})
			i += size
		} else if rule := rules.ascii[b]; rule.kind() == kindWord && !s.collect {
			if len(s.run) > 0 {
				s.order()
			}
			i = s.scanASCII(text, i, to)
			continue
		} else {
			s.normalize(rule, rune(b), [2]int{i, i + 1})
			i++
		}
		if s.done {
			return false
		}
	}
	s.order()
	if !s.collect {
		s.endWord()
	}
	return !s.done
}

// scanASCII adds the ASCII word characters from i on to the word and returns where they end.
func (s *scanner) scanASCII(text string, i, to int) int {
	ascii := &s.t.rules.ascii
	if s.offsets && s.chars == 0 {
		s.start = i
	}
	room := s.t.model.maxChars - s.chars
	j := i
	for ; j < to && text[j] < utf8.RuneSelf; j++ {
		rule := ascii[text[j]]
		if rule.kind() != kindWord {
			break
		}
		if j-i < room {
			s.word = append(s.word, text[j]+byte(rule.payload()))
			if s.offsets {
				s.origins = append(s.origins, [2]int{j, j + 1})
			}
		}
	}
	s.chars += j - i
	s.end = j
	return j
}

// normalize applies r's rule, at the given place in the text.
func (s *scanner) normalize(rule rule, r rune, origin [2]int) {
	switch rule.kind() {
	case kindDrop:
	case kindMark:
		class := uint8(rule.payload())
		if class == 0 {
			s.order()
		} else if s.offsets {
			s.follow(nil, class, true, origin)
		}
	case kindCompound:
		atoms := s.t.rules.compounds[rule.payload()]
		for i := range atoms {
			a := &atoms[i]
			if a.class != 0 {
				s.follow(a, a.class, a.first, origin)
				continue
			}
			s.order()
			s.emitAtom(a, origin)
		}
	default:
		if len(s.run) > 0 {
			s.order()
		}
		s.emit(r+rule.payload(), rule.kind(), origin)
	}
}

func (s *scanner) follow(a *atom, class uint8, first bool, origin [2]int) {
	if len(s.run) == 0 {
		// The reference counts on from the character before; a decomposition's own tail
		// takes its place.
		s.sources = append(s.sources[:0], origin)
	}
	if first {
		s.sources = append(s.sources, origin)
	}
	s.run = append(s.run, follower{a, class, first, len(s.run)})
}

// order ends the run of combining characters: it puts them in canonical order and emits them.
// Places in the text stay in text order, as in the reference: the n-th character that was in the
// text gets the n-th place, one that a decomposition added gets the place of the one before it.
func (s *scanner) order() {
	if len(s.run) == 0 {
		return
	}
	slices.SortFunc(s.run, func(a, b follower) int {
		if a.class != b.class {
			return int(a.class) - int(b.class)
		}
		return a.ordinal - b.ordinal
	})
	at := 0
	for _, f := range s.run {
		if f.first {
			at++
		}
		if f.atom != nil {
			s.emitAtom(f.atom, s.sources[at])
		}
	}
	s.run, s.sources = s.run[:0], s.sources[:0]
}

func (s *scanner) emitAtom(a *atom, origin [2]int) {
	s.emit(a.r, a.kind, origin)
	for _, m := range a.more {
		s.emit(m.r, m.kind, origin)
	}
}

// emit takes the next normalized character.
func (s *scanner) emit(r rune, k kind, origin [2]int) {
	if s.collect {
		s.collected = append(s.collected, character{r, k, origin})
		return
	}
	switch k {
	case kindSpace:
		s.endWord()
	case kindPunctuation:
		s.endWord()
		s.add(r, origin)
		s.endWord()
	default:
		s.add(r, origin)
	}
}

func (s *scanner) add(r rune, origin [2]int) {
	if s.chars == 0 {
		s.start = origin[0]
	}
	s.chars++
	s.end = origin[1]
	if s.chars > s.t.model.maxChars {
		return
	}
	before := len(s.word)
	s.word = utf8.AppendRune(s.word, r)
	if s.offsets {
		for range len(s.word) - before {
			s.origins = append(s.origins, origin)
		}
	}
}

// endWord looks up the word under way, unless the limit was reached before it.
func (s *scanner) endWord() {
	if s.chars == 0 {
		return
	}
	if !s.done {
		s.lookUp()
	}
	s.word, s.origins, s.chars = s.word[:0], s.origins[:0], 0
}

func (s *scanner) lookUp() {
	m := s.t.model
	before := len(s.ids)
	known := s.chars <= m.maxChars
	if known {
		s.ids, s.ends, known = m.appendPieces(s.ids, s.ends[:0], s.word)
	}
	if !known {
		s.ids = append(s.ids[:before], int64(m.unknown))
	}
	s.done = s.limit >= 0 && len(s.ids) >= s.limit
	if !s.offsets {
		return
	}
	if !known {
		s.spans = append(s.spans, [2]int{s.start, s.end})
		return
	}
	at := 0
	for _, end := range s.ends {
		s.spans = append(s.spans, [2]int{s.origins[at][0], s.origins[end-1][1]})
		at = end
	}
}

// addToken appends an added token found at the given place.
func (s *scanner) addToken(id int64, origin [2]int) {
	s.ids = append(s.ids, id)
	if s.offsets {
		s.spans = append(s.spans, origin)
	}
	s.done = s.limit >= 0 && len(s.ids) >= s.limit
}

// scanText tokenizes the whole text: added tokens first, then what lies between them.
func (s *scanner) scanText(text string) {
	m, at := s.t.raw, 0
	if m != nil {
		for from := 0; ; {
			found, resume, ok := next(m, text, from, at)
			if !ok {
				break
			}
			if at < found.start && !s.scanBetween(text, at, found.start) {
				return
			}
			s.addToken(int64(found.id), [2]int{found.start, found.end})
			if s.done {
				return
			}
			at, from = found.end, resume
		}
	}
	s.scanBetween(text, at, len(text))
}

// scanBetween tokenizes text[from:to], where no raw added token is, and reports whether it went to
// the end, rather than reaching the limit.
func (s *scanner) scanBetween(text string, from, to int) bool {
	m := s.t.normalized
	if m == nil {
		return s.scan(text, from, to)
	}
	s.collect, s.collected = true, s.collected[:0]
	s.scan(text, from, to)
	s.collect = false
	var normalized []byte
	var index []int // character of each byte, and the number of characters at the end
	for i, c := range s.collected {
		before := len(normalized)
		normalized = utf8.AppendRune(normalized, c.r)
		for range len(normalized) - before {
			index = append(index, i)
		}
	}
	index = append(index, len(s.collected))
	at := 0
	for look := 0; ; {
		found, resume, ok := next(m, normalized, look, at)
		if !ok {
			break
		}
		if at < found.start && !s.emitAll(s.collected[index[at]:index[found.start]]) {
			return false
		}
		origin := [2]int{s.collected[index[found.start]].origin[0], s.collected[index[found.end-1]].origin[1]}
		s.addToken(int64(found.id), origin)
		if s.done {
			return false
		}
		at, look = found.end, resume
	}
	return s.emitAll(s.collected[index[at]:])
}

func (s *scanner) emitAll(characters []character) bool {
	for _, c := range characters {
		s.emit(c.r, c.kind, c.origin)
		if s.done {
			return false
		}
	}
	s.endWord()
	return !s.done
}
