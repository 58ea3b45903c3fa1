package tokenizer

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxCharsPerWord is the reference's default (tokenizers, models/wordpiece/mod.rs).
const maxCharsPerWord = 100

// continuingPrefix begins the tokens that continue a word, unless tokenizer.json says otherwise.
const continuingPrefix = "##"

// config is what of tokenizer_config.json bears on a vocab.txt.
type config struct {
	Lowercase    *bool     `json:"do_lower_case"`
	StripAccents *bool     `json:"strip_accents"`
	ChineseChars *bool     `json:"tokenize_chinese_chars"`
	Unknown      tokenName `json:"unk_token"`
	Separator    tokenName `json:"sep_token"`
	Padding      tokenName `json:"pad_token"`
	Class        tokenName `json:"cls_token"`
	Mask         tokenName `json:"mask_token"`
}

// tokenName is a token given as a string, or as an object with a "content".
type tokenName string

// UnmarshalJSON reads either form.
func (n *tokenName) UnmarshalJSON(data []byte) error {
	var object struct {
		Content string `json:"content"`
	}
	if len(data) > 0 && data[0] == '{' {
		if err := json.Unmarshal(data, &object); err != nil {
			return err
		}
		*n = tokenName(object.Content)
		return nil
	}
	return json.Unmarshal(data, (*string)(n))
}

// fromVocab makes a tokenizer of vocab.txt: one token a line, its id the line's number from 0.
// configData may be nil.
func fromVocab(path string, data []byte, configPath string, configData []byte) (*Tokenizer, error) {
	s, err := parseVocab(path, data, configPath, configData)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{vocabFile: data}
	if configData != nil {
		files[configFile] = configData
	}
	t, err := newTokenizer(s, newRules(s.normalizer), files)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

func parseVocab(path string, data []byte, configPath string, configData []byte) (spec, error) {
	vocab, err := parseLines(path, data)
	if err != nil {
		return spec{}, err
	}
	c := config{Unknown: "[UNK]", Separator: "[SEP]", Padding: "[PAD]", Class: "[CLS]", Mask: "[MASK]"}
	if configData != nil {
		if err := json.Unmarshal(configData, &c); err != nil {
			return spec{}, jsonError(configPath, configData, err)
		}
	}
	lower := c.Lowercase == nil || *c.Lowercase
	s := spec{
		normalizer: Normalizer{
			CleanText:    true,
			ChineseChars: c.ChineseChars == nil || *c.ChineseChars,
			StripAccents: lower,
			Lowercase:    lower,
		},
		vocab:    vocab,
		unknown:  string(c.Unknown),
		prefix:   continuingPrefix,
		maxChars: maxCharsPerWord,
		decoder:  decoder{prefix: continuingPrefix, cleanup: true},
	}
	if c.StripAccents != nil {
		s.normalizer.StripAccents = *c.StripAccents
	}
	for _, name := range []tokenName{c.Unknown, c.Separator, c.Class} {
		if _, ok := vocab[string(name)]; !ok {
			return spec{}, fmt.Errorf("%s: no line holds the token %q", path, string(name))
		}
	}
	for _, name := range []tokenName{c.Padding, c.Unknown, c.Class, c.Separator, c.Mask} {
		if _, ok := vocab[string(name)]; ok {
			s.added = append(s.added, AddedToken{Content: string(name), Special: true})
		}
	}
	s.single, s.pair = bertTemplates(int64(vocab[string(c.Class)]), int64(vocab[string(c.Separator)]))
	return s, nil
}

// parseLines reads the lines of a vocab.txt. Of equal lines the last counts, as in the reference.
func parseLines(path string, data []byte) (map[string]int32, error) {
	vocab := map[string]int32{}
	id := int32(0)
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
		if !utf8.ValidString(line) {
			return nil, fmt.Errorf("%s: line %d is not UTF-8", path, id+1)
		}
		vocab[line] = id
		id++
	}
	if len(vocab) == 0 {
		return nil, fmt.Errorf("%s: it is empty", path)
	}
	return vocab, nil
}
