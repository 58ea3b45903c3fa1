package tokenizer

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"unicode/utf8"
)

// file is tokenizer.json, as far as BERT needs it.
type file struct {
	Added         []numbered  `json:"added_tokens"`
	Normalizer    *normalizer `json:"normalizer"`
	PreTokenizer  *named      `json:"pre_tokenizer"`
	PostProcessor *processor  `json:"post_processor"`
	Decoder       *struct {
		named
		Prefix  *string `json:"prefix"`
		Cleanup *bool   `json:"cleanup"`
	} `json:"decoder"`
	Model      *model     `json:"model"`
	Truncation *direction `json:"truncation"`
	Padding    *direction `json:"padding"`
}

// direction is what of truncation and padding would move the ids.
type direction struct {
	Direction string `json:"direction"`
	Token     string `json:"pad_token"`
}

// numbered is an added token with its id, which only tells the order: see [Tokenizer.add].
type numbered struct {
	AddedToken
	ID int `json:"id"`
}

type named struct {
	Type string `json:"type"`
}

type normalizer struct {
	named
	CleanText    bool  `json:"clean_text"`
	ChineseChars bool  `json:"handle_chinese_chars"`
	StripAccents *bool `json:"strip_accents"` // null: as lowercase
	Lowercase    bool  `json:"lowercase"`
}

type model struct {
	named
	Unknown  *string         `json:"unk_token"`
	Prefix   *string         `json:"continuing_subword_prefix"`
	MaxChars *int            `json:"max_input_chars_per_word"`
	RawVocab json.RawMessage `json:"vocab"`
}

type processor struct {
	named
	Single   []piece `json:"single"`
	Pair     []piece `json:"pair"`
	Specials map[string]struct {
		IDs []int64 `json:"ids"`
	} `json:"special_tokens"`
	Class     pairOf `json:"cls"`
	Separator pairOf `json:"sep"`
}

// piece is one of a template's pieces; exactly one of its fields is there.
type piece struct {
	Sequence     *pieceOf `json:"Sequence"`
	SpecialToken *pieceOf `json:"SpecialToken"`
}

type pieceOf struct {
	ID     string `json:"id"`
	TypeID int64  `json:"type_id"`
}

// pairOf is a token with its id, written ["[CLS]", 101].
type pairOf struct{ id int64 }

// UnmarshalJSON reads the array.
func (p *pairOf) UnmarshalJSON(data []byte) error {
	var token string
	parts := []any{&token, &p.id}
	if err := json.Unmarshal(data, &parts); err != nil {
		return err
	}
	if len(parts) != 2 {
		return errors.New("a token and its id are wanted")
	}
	return nil
}

// fromJSON makes a tokenizer of a tokenizer.json.
func fromJSON(path string, data []byte) (*Tokenizer, error) {
	s, err := parseJSON(path, data)
	if err != nil {
		return nil, err
	}
	s.class = "PreTrainedTokenizerFast" // which takes the file as it is
	t, err := newTokenizer(s, newRules(s.normalizer), map[string][]byte{tokenizerFile: data})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

func parseJSON(path string, data []byte) (spec, error) {
	if !utf8.Valid(data) {
		return spec{}, fmt.Errorf("%s: it is not UTF-8", path)
	}
	var f file
	if err := json.Unmarshal(data, &f); err != nil {
		return spec{}, jsonError(path, data, err)
	}
	s, err := f.spec()
	if err != nil {
		return spec{}, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// jsonError names the file, line and, where known, key of what is wrong in data.
func jsonError(path string, data []byte, err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	offset := int64(-1)
	switch {
	case errors.As(err, &syntax):
		offset = syntax.Offset
	case errors.As(err, &kind):
		offset = kind.Offset
	}
	if offset < 0 || offset > int64(len(data)) {
		return fmt.Errorf("%s: %w", path, err)
	}
	line := bytes.Count(data[:offset], []byte("\n")) + 1
	if kind != nil && kind.Field != "" {
		return fmt.Errorf("%s:%d: %s: a JSON %s stands where another kind of value is wanted", path, line, kind.Field, kind.Value)
	}
	return fmt.Errorf("%s:%d: %w", path, line, err)
}

// wrongKind is the error for a part of the file that is not BERT's.
func wrongKind(key, got, want string) error {
	if got == "" {
		return fmt.Errorf("%s: it is missing; a BERT tokenizer has %s", key, want)
	}
	return fmt.Errorf("%s: %q is not supported; a BERT tokenizer has %s", key, got, want)
}

// spec checks the file's parts and puts them together. Its errors begin with the key.
func (f *file) spec() (spec, error) {
	var s spec
	if err := f.readModel(&s); err != nil {
		return s, err
	}
	if f.Normalizer == nil {
		return s, wrongKind("normalizer", "", "BertNormalizer")
	}
	if f.Normalizer.Type != "BertNormalizer" {
		return s, wrongKind("normalizer.type", f.Normalizer.Type, "BertNormalizer")
	}
	s.normalizer = Normalizer{
		CleanText:    f.Normalizer.CleanText,
		ChineseChars: f.Normalizer.ChineseChars,
		StripAccents: f.Normalizer.Lowercase,
		Lowercase:    f.Normalizer.Lowercase,
	}
	if strip := f.Normalizer.StripAccents; strip != nil {
		s.normalizer.StripAccents = *strip
	}
	if f.PreTokenizer == nil {
		return s, wrongKind("pre_tokenizer", "", "BertPreTokenizer")
	}
	if f.PreTokenizer.Type != "BertPreTokenizer" {
		return s, wrongKind("pre_tokenizer.type", f.PreTokenizer.Type, "BertPreTokenizer")
	}
	s.numbered = f.Added
	for _, token := range f.Added {
		s.added = append(s.added, token.AddedToken)
	}
	s.stripAccents = f.Normalizer.StripAccents
	for _, d := range []struct {
		key string
		*direction
	}{{"truncation", f.Truncation}, {"padding", f.Padding}} {
		if d.direction != nil && d.Direction == "Left" {
			return s, fmt.Errorf("%s.direction: Left is not supported", d.key)
		}
	}
	if f.Padding != nil {
		s.padding = f.Padding.Token
	}
	s.decoder = decoder{spaces: true}
	if d := f.Decoder; d != nil {
		if d.Type != "WordPiece" {
			return s, wrongKind("decoder.type", d.Type, "WordPiece")
		}
		s.decoder = decoder{prefix: continuingPrefix, cleanup: d.Cleanup == nil || *d.Cleanup}
		if d.Prefix != nil {
			s.decoder.prefix = *d.Prefix
		}
	}
	return s, f.readTemplates(&s)
}

func (f *file) readModel(s *spec) error {
	m := f.Model
	if m == nil {
		return wrongKind("model", "", "WordPiece")
	}
	// Files of before tokenizers 0.9 do not name the type; only WordPiece has a prefix and a
	// largest word.
	if m.Type != "WordPiece" && (m.Type != "" || m.Prefix == nil || m.MaxChars == nil) {
		return wrongKind("model.type", m.Type, "WordPiece")
	}
	// Only now, as other models have a vocabulary of another form.
	var vocab map[string]int64
	if len(m.RawVocab) > 0 {
		if err := json.Unmarshal(m.RawVocab, &vocab); err != nil {
			return fmt.Errorf("model.vocab: %w", err)
		}
	}
	if len(vocab) == 0 {
		return errors.New("model.vocab: it is missing or empty")
	}
	s.unknown, s.prefix, s.maxChars = "[UNK]", continuingPrefix, maxCharsPerWord
	if m.Unknown != nil {
		s.unknown = *m.Unknown
	}
	if m.Prefix != nil {
		s.prefix = *m.Prefix
	}
	if m.MaxChars != nil {
		s.maxChars = *m.MaxChars
	}
	if s.maxChars < 0 {
		return fmt.Errorf("model.max_input_chars_per_word: %d is negative", s.maxChars)
	}
	s.vocab = make(map[string]int32, len(vocab))
	for token, id := range vocab {
		if id < 0 || id > math.MaxInt32 {
			return fmt.Errorf("model.vocab: id %d of %q is out of range", id, token)
		}
		s.vocab[token] = int32(id)
	}
	if _, ok := s.vocab[s.unknown]; !ok {
		return fmt.Errorf("model.unk_token: %q is not in model.vocab", s.unknown)
	}
	return nil
}

func (f *file) readTemplates(s *spec) error {
	p := f.PostProcessor
	s.single, s.pair = bareTemplates()
	if p == nil {
		return nil
	}
	var err error
	switch p.Type {
	case "BertProcessing":
		s.single, s.pair = bertTemplates(p.Class.id, p.Separator.id)
	case "TemplateProcessing":
		if s.single, err = p.template("single", p.Single, 1); err == nil {
			s.pair, err = p.template("pair", p.Pair, 2)
		}
	default:
		err = wrongKind("post_processor.type", p.Type, "TemplateProcessing or BertProcessing")
	}
	return err
}

// template reads a template in which each of the sequences stands once.
func (p *processor) template(key string, pieces []piece, sequences int) (template, error) {
	var t template
	seen := make([]int, 2)
	for i, piece := range pieces {
		at := fmt.Sprintf("post_processor.%s[%d]", key, i)
		if of := cmp.Or(piece.Sequence, piece.SpecialToken); of != nil && of.TypeID < 0 {
			return nil, fmt.Errorf("%s: type_id %d is negative", at, of.TypeID)
		}
		switch {
		case piece.Sequence != nil:
			n, ok := map[string]int{"A": 0, "B": 1}[piece.Sequence.ID]
			if !ok {
				return nil, fmt.Errorf("%s: sequence %q is neither A nor B", at, piece.Sequence.ID)
			}
			seen[n]++
			t = append(t, templatePiece{sequence: n, typeID: piece.Sequence.TypeID})
		case piece.SpecialToken != nil:
			special, ok := p.Specials[piece.SpecialToken.ID]
			if !ok {
				return nil, fmt.Errorf("%s: %q is not in post_processor.special_tokens", at, piece.SpecialToken.ID)
			}
			t = append(t, templatePiece{sequence: -1, typeID: piece.SpecialToken.TypeID, ids: special.IDs})
		default:
			return nil, fmt.Errorf("%s: it is neither a Sequence nor a SpecialToken", at)
		}
	}
	if seen[0] != 1 || seen[1] != sequences-1 {
		return nil, fmt.Errorf("post_processor.%s: each text must stand in it once", key)
	}
	return t, nil
}
