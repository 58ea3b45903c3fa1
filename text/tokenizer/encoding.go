package tokenizer

// Encoding is what a text, or a pair of texts, becomes. Its slices are of one length.
type Encoding struct {
	IDs     []int64
	TypeIDs []int64 // which sequence a token belongs to, as the model was trained: mostly 0 and 1
	// Offsets are, for each token, the bytes of its text (for a pair, of the text it comes from):
	// text[o[0]:o[1]]. They always lie on the borders of characters, or of bytes that are not
	// UTF-8. Special tokens have {0, 0}.
	Offsets     [][2]int
	SpecialMask []int64 // 1 for special tokens that no text stands for, 0 for others
}

// Options says how to encode. The zero value adds special tokens and does not truncate.
type Options struct {
	MaxLength int // tokens at most, special ones included; 0: no limit
	Strategy  Strategy
	// NoSpecialTokens leaves out [CLS] and [SEP].
	NoSpecialTokens bool
}

// Encode tokenizes one text. It fails only when MaxLength cannot be met: see [Strategy].
func (t *Tokenizer) Encode(text string, options Options) (Encoding, error) {
	limit := -1
	if options.MaxLength > 0 {
		limit = options.MaxLength + 1 // so that truncate sees whether it is exceeded
	}
	a := t.sequence(text, limit)
	if err := truncate(&a, nil, t.single, options); err != nil {
		return Encoding{}, err
	}
	return assemble(t.single, []sequence{a}, options), nil
}

// EncodePair tokenizes two texts into one encoding. It fails only when MaxLength cannot be met:
// see [Strategy].
func (t *Tokenizer) EncodePair(first, second string, options Options) (Encoding, error) {
	a, b := t.sequence(first, -1), t.sequence(second, -1) // the strategies compare full lengths
	if err := truncate(&a, &b, t.pair, options); err != nil {
		return Encoding{}, err
	}
	return assemble(t.pair, []sequence{a, b}, options), nil
}

// AppendIDs appends the ids of text to dst, special tokens included, and returns the result. Of a
// long text the first ids are kept, maxLen in all with the special tokens; 0 means no limit, and
// the special tokens stand even where maxLen has no room for them. It allocates only to make dst
// longer, and reads no further in text than it needs.
func (t *Tokenizer) AppendIDs(dst []int64, text string, maxLen int) []int64 {
	for _, piece := range t.single {
		if piece.sequence < 0 {
			dst = append(dst, piece.ids...)
			continue
		}
		limit := -1
		if maxLen > 0 {
			limit = len(dst) + max(0, maxLen-t.single.specials())
			if limit == len(dst) {
				continue
			}
		}
		s := t.scanners.Get().(*scanner)
		s.reset(dst, false, limit)
		s.scanText(text)
		dst = s.ids
		if limit >= 0 && len(dst) > limit {
			dst = dst[:limit]
		}
		s.ids = nil
		t.scanners.Put(s)
	}
	return dst
}

// sequence is a tokenized text, before truncation and special tokens.
type sequence struct {
	ids   []int64
	spans [][2]int
}

// sequence tokenizes text, or its beginning to at least limit tokens where limit is not negative.
func (t *Tokenizer) sequence(text string, limit int) sequence {
	s := t.scanners.Get().(*scanner)
	s.reset(nil, true, limit)
	s.scanText(text)
	made := sequence{ids: s.ids, spans: append([][2]int(nil), s.spans...)}
	s.ids = nil
	t.scanners.Put(s)
	return made
}

// assemble puts sequences into a template.
func assemble(tpl template, sequences []sequence, options Options) Encoding {
	n := 0
	if !options.NoSpecialTokens {
		n = tpl.specials()
	}
	for _, s := range sequences {
		n += len(s.ids)
	}
	e := Encoding{
		IDs: make([]int64, 0, n), TypeIDs: make([]int64, n),
		Offsets: make([][2]int, 0, n), SpecialMask: make([]int64, n),
	}
	for _, piece := range tpl {
		at := len(e.IDs)
		if piece.sequence >= 0 {
			e.IDs = append(e.IDs, sequences[piece.sequence].ids...)
			e.Offsets = append(e.Offsets, sequences[piece.sequence].spans...)
		} else if !options.NoSpecialTokens {
			e.IDs = append(e.IDs, piece.ids...)
			e.Offsets = append(e.Offsets, make([][2]int, len(piece.ids))...)
			for i := at; i < len(e.IDs); i++ {
				e.SpecialMask[i] = 1
			}
		}
		for i := at; i < len(e.IDs); i++ {
			e.TypeIDs[i] = piece.typeID
		}
	}
	return e
}
