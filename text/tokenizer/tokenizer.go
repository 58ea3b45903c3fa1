package tokenizer

import (
	"fmt"
	"slices"
	"sync"
)

// Tokenizer makes token ids of texts. It does not change and may be used by many goroutines.
type Tokenizer struct {
	normalizer Normalizer
	rules      *ruleTable
	model      *wordPiece
	raw        *matcher // added tokens found in the text as it is
	normalized *matcher // added tokens found in the normalized text

	added     map[string]int32 // ids of added tokens
	shown     map[int32]string // what ids of added tokens read as: the normalized form, where matched so
	special   map[string]bool
	implied   []string
	size      int
	maxLength int
	single    template
	pair      template
	decoder   decoder
	files     map[string][]byte // as loaded, for Save
	spec      spec              // as loaded, for Export
	scanners  *sync.Pool
}

// spec is a tokenizer's description, as read from its files.
type spec struct {
	normalizer Normalizer
	vocab      map[string]int32
	unknown    string
	prefix     string // of tokens that continue a word
	maxChars   int
	added      []AddedToken
	single     template
	pair       template
	decoder    decoder

	// What only the comparison of several files asks for.
	numbered     []numbered // tokenizer.json's added tokens
	stripAccents *bool      // tokenizer.json's, null for as lowercase
	padding      string     // tokenizer.json's token of padding, "" where it does not pad
	implied      []string   // tokens that no file names
	maxLength    int
	class        string            // tokenizer_class, "" where no file says
	names        map[string]string // of special tokens that there are, by key: "cls_token"
}

// newTokenizer puts a tokenizer together; rules are those of s.normalizer.
func newTokenizer(s spec, rules *ruleTable, files map[string][]byte) (*Tokenizer, error) {
	t := &Tokenizer{
		normalizer: s.normalizer,
		rules:      rules,
		model:      newWordPiece(s.vocab, s.vocab[s.unknown], s.prefix, s.maxChars),
		added:      map[string]int32{},
		shown:      map[int32]string{},
		special:    map[string]bool{},
		single:     s.single,
		pair:       s.pair,
		decoder:    s.decoder,
		implied:    s.implied,
		maxLength:  s.maxLength,
		files:      files,
		spec:       s,
	}
	t.scanners = &sync.Pool{New: func() any { return &scanner{t: t} }}
	t.add(s.added)
	for _, p := range slices.Concat(t.single, t.pair) {
		for _, id := range p.ids {
			if _, ok := t.Token(id); !ok {
				return nil, fmt.Errorf("post_processor: no token has the special token's id %d", id)
			}
		}
	}
	return t, nil
}

// add registers added tokens. As in the reference, an id is that of the vocabulary or else the
// next free one, whatever number the file gives.
func (t *Tokenizer) add(tokens []AddedToken) {
	byID := map[int32]AddedToken{}
	t.size = len(t.model.vocab)
	for _, token := range tokens {
		if token.Content == "" {
			continue
		}
		id, ok := t.added[token.Content]
		if !ok {
			id, ok = t.model.vocab[token.Content]
		}
		if !ok {
			id = int32(t.size)
			t.size++
		}
		t.added[token.Content] = id
		if token.Special {
			t.special[token.Content] = true
		}
		byID[id] = token
	}
	var raw, normalized []trieEntry
	for id, token := range byID {
		t.shown[id] = token.Content
		if !token.Normalized {
			raw = append(raw, trieEntry{token.Content, id})
			continue
		}
		t.shown[id] = t.normalize(token.Content)
		normalized = append(normalized, trieEntry{t.shown[id], id})
	}
	t.raw, t.normalized = newMatcher(raw, byID), newMatcher(normalized, byID)
}

// normalize returns text as the normalizer leaves it.
func (t *Tokenizer) normalize(text string) string {
	s := scanner{t: t, collect: true, limit: -1}
	s.scan(text, 0, len(text))
	runes := make([]rune, len(s.collected))
	for i, c := range s.collected {
		runes[i] = c.r
	}
	return string(runes)
}

// VocabSize returns the number of tokens, those added to the vocabulary included.
func (t *Tokenizer) VocabSize() int { return t.size }

// Implied returns the special tokens that no file of the folder names and the vocabulary lacks, as [MASK] in a
// vocabulary without it. As in transformers they have the last ids, for which a model may have no embedding.
func (t *Tokenizer) Implied() []string { return t.implied }

// MaxLength returns tokenizer_config.json's model_max_length, where transformers cuts a text that it is asked to cut; 0
// where the file names none. Encode does not apply it.
func (t *Tokenizer) MaxLength() int { return t.maxLength }

// Normalizer returns the options that texts are normalized with.
func (t *Tokenizer) Normalizer() Normalizer { return t.normalizer }

// ID returns token's id.
func (t *Tokenizer) ID(token string) (id int64, ok bool) {
	n, ok := t.added[token]
	if !ok {
		n, ok = t.model.vocab[token]
	}
	return int64(n), ok
}

// Token returns the token of an id.
func (t *Tokenizer) Token(id int64) (token string, ok bool) {
	if id != int64(int32(id)) {
		return "", false
	}
	if token, ok = t.shown[int32(id)]; ok {
		return token, true
	}
	token, ok = t.model.tokens[int32(id)]
	return token, ok
}
