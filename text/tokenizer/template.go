package tokenizer

// template says what stands around the sequences of an encoding.
type template []templatePiece

// templatePiece is a sequence (0 or 1) or, when sequence is negative, special tokens.
type templatePiece struct {
	sequence int
	typeID   int64
	ids      []int64
}

// specials returns the number of special tokens.
func (t template) specials() int {
	n := 0
	for _, p := range t {
		n += len(p.ids)
	}
	return n
}

// bertTemplates returns [CLS] A [SEP] and [CLS] A [SEP] B [SEP].
func bertTemplates(cls, sep int64) (single, pair template) {
	single = template{
		{sequence: -1, ids: []int64{cls}},
		{sequence: 0},
		{sequence: -1, ids: []int64{sep}},
	}
	pair = append(single[:len(single):len(single)],
		templatePiece{sequence: 1, typeID: 1},
		templatePiece{sequence: -1, typeID: 1, ids: []int64{sep}})
	return single, pair
}

// bareTemplates add no special tokens.
func bareTemplates() (single, pair template) {
	return template{{sequence: 0}}, template{{sequence: 0}, {sequence: 1, typeID: 1}}
}
