package tokenizer

import "slices"

// Normalizer holds the options of the reference's BertNormalizer.
type Normalizer struct {
	CleanText    bool // remove control characters, make every white space a space
	ChineseChars bool // set every CJK ideograph apart
	StripAccents bool // decompose (NFD) and remove nonspacing marks
	Lowercase    bool
}

// kind says what a character does to the word under way.
type kind uint8

const (
	kindWord        kind = iota // continues the word
	kindSpace                   // ends it
	kindPunctuation             // ends it and is a word of its own
	kindDrop                    // is not there at all
	kindMark                    // is removed, but only after it took part in canonical order
	kindCompound                // becomes several characters, or one that canonical order may move
)

// rule is what to do with one code point: a kind in the low three bits; above them the signed
// distance to the character it becomes, for kindMark the canonical combining class, for kindCompound
// the index in ruleTable.compounds.
type rule int32

func makeRule(k kind, payload int) rule { return rule(payload<<3) | rule(k) }
func (r rule) kind() kind               { return kind(r & 7) }
func (r rule) payload() int32           { return int32(r) >> 3 }

// atom is one character after normalization.
type atom struct {
	r     rune
	kind  kind
	class uint8 // canonical combining class when it was ordered; 0 for a starter
	first bool  // stands for a character of the text; the others of a decomposition follow it
	// more holds further characters that lowercasing made of this one; they go where it goes.
	more []atom
}

const (
	pageBits = 7
	pageSize = 1 << pageBits
)

// ruleTable is a normalizer's answer for every code point: a table in two stages, equal pages shared.
type ruleTable struct {
	ascii     [128]rule
	pages     []*[pageSize]rule
	compounds [][]atom
}

func (rs *ruleTable) of(r rune) rule { return rs.pages[r>>pageBits][r&(pageSize-1)] }

// newRules works out what the options make of every code point.
func newRules(options Normalizer) *ruleTable {
	cp := parseCodePoints()
	rs := &ruleTable{pages: make([]*[pageSize]rule, (maxRune+1)/pageSize)}
	shared := map[[pageSize]rule]*[pageSize]rule{}
	for i := range rs.pages {
		var page [pageSize]rule
		for j := range page {
			page[j] = rs.rule(cp, options, rune(i*pageSize+j))
		}
		if shared[page] == nil {
			shared[page] = &page
		}
		rs.pages[i] = shared[page]
	}
	copy(rs.ascii[:], rs.pages[0][:])
	return rs
}

func (rs *ruleTable) rule(cp *codePoints, options Normalizer, r rune) rule {
	was := r
	p := cp.properties[r]
	if options.CleanText {
		if p&isControl != 0 {
			return makeRule(kindDrop, 0)
		}
		if p&isBlank != 0 {
			return makeRule(kindSpace, 0)
		}
	}
	if p&(isMapped|isMark|isChinese) == 0 && (r < hangulBase || r >= hangulEnd) {
		return makeRule(cp.kind(r), 0)
	}
	var nfdBuf, lowerBuf [4]rune
	decomposed := append(nfdBuf[:0], r)
	if options.StripAccents {
		decomposed = cp.nfd(r, nfdBuf[:0])
	}
	var atoms []atom
	simple := true // one starter that becomes at most one character, or dropped followers
	for i, d := range decomposed {
		class := uint8(0)
		if options.StripAccents {
			class = cp.class[d]
			if cp.properties[d]&isMark != 0 {
				// Behind the first of a decomposition, what is dropped moves nothing.
				continue
			}
		}
		lowered := append(lowerBuf[:0], d)
		if options.Lowercase {
			lowered = cp.lowered(d, lowerBuf[:0])
		}
		a := atom{r: lowered[0], kind: cp.kind(lowered[0]), class: class, first: i == 0}
		for _, l := range lowered[1:] {
			a.more = append(a.more, atom{r: l, kind: cp.kind(l)})
		}
		simple = simple && class == 0 && a.more == nil
		atoms = append(atoms, a)
	}
	if options.ChineseChars && p&isChinese != 0 {
		space := atom{r: ' ', kind: kindSpace}
		atoms = append(append([]atom{{r: ' ', kind: kindSpace, first: true}}, atoms...), space)
		simple = false
	}
	switch {
	case len(atoms) == 0:
		return makeRule(kindMark, int(cp.class[decomposed[0]]))
	case len(atoms) == 1 && simple:
		return makeRule(atoms[0].kind, int(atoms[0].r-was))
	}
	rs.compounds = append(rs.compounds, slices.Clip(atoms))
	return makeRule(kindCompound, len(rs.compounds)-1)
}

// kind returns how the pre-tokenizer treats r.
func (cp *codePoints) kind(r rune) kind {
	switch p := cp.properties[r]; {
	case p&isSpace != 0:
		return kindSpace
	case p&isPunctuation != 0:
		return kindPunctuation
	}
	return kindWord
}
