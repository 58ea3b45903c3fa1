package tokenizer

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
)

// specialKeys are the names that special tokens have, in the order in which transformers adds them.
var specialKeys = []string{"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"}

// bertNames are the special tokens of a BertTokenizer that no file names.
var bertNames = map[string]string{
	"unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]", "cls_token": "[CLS]", "mask_token": "[MASK]",
}

// settings are what tokenizer_config.json and special_tokens_map.json say.
type settings struct {
	Class        string                `json:"tokenizer_class"`
	Lowercase    *bool                 `json:"do_lower_case"`
	StripAccents *bool                 `json:"strip_accents"` // null: as lowercase
	ChineseChars *bool                 `json:"tokenize_chinese_chars"`
	Decoder      map[string]addedToken `json:"added_tokens_decoder"` // by id
	MaxLength    *float64              `json:"model_max_length"`
	Truncation   string                `json:"truncation_side"`
	Padding      string                `json:"padding_side"`
	Split        bool                  `json:"split_special_tokens"`
	Files        []string              `json:"fast_tokenizer_files"`

	saysAccents bool                  // strip_accents is there, be it null
	named       map[string]bool       // the special tokens that a file names, be it null, by key
	special     map[string]addedToken // by key
	extra       []addedToken
	additional  []addedToken // special_tokens_map.json's additional_special_tokens, which count last
}

// addedToken is a token in a settings file: a string, or an object with its properties.
type addedToken struct {
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"`
	LStrip     bool   `json:"lstrip"`
	RStrip     bool   `json:"rstrip"`
	Normalized *bool  `json:"normalized"` // null: as not special
	Special    bool   `json:"special"`
}

func plainToken(content string) addedToken { return addedToken{Content: content, Special: true} }

// UnmarshalJSON reads either form.
func (t *addedToken) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '{' {
		type object addedToken
		return json.Unmarshal(data, (*object)(t))
	}
	*t = addedToken{Special: true}
	return json.Unmarshal(data, &t.Content)
}

func (t addedToken) added() AddedToken {
	normalized := !t.Special
	if t.Normalized != nil {
		normalized = *t.Normalized
	}
	return AddedToken{
		Content: t.Content, SingleWord: t.SingleWord, LStrip: t.LStrip, RStrip: t.RStrip,
		Normalized: normalized, Special: t.Special,
	}
}

// settings reads the two files and refuses what would give other ids than transformers.
func (f files) settings() (*settings, error) {
	c := &settings{named: map[string]bool{}, special: map[string]addedToken{}}
	path := f.path(configFile)
	if data := f.data[configFile]; data != nil {
		if err := json.Unmarshal(data, c); err != nil {
			return nil, jsonError(path, data, err)
		}
		if err := c.readTokens(path, data, false); err != nil {
			return nil, err
		}
	}
	// As in the reference, added_tokens_decoder takes the place of the older files.
	if data := f.data[specialFile]; data != nil && c.Decoder == nil {
		if err := c.readTokens(f.path(specialFile), data, true); err != nil {
			return nil, err
		}
	}
	switch {
	case c.Truncation == "left":
		return nil, fmt.Errorf("%s: truncation_side is left, and only right is supported", path)
	case c.Padding == "left":
		return nil, fmt.Errorf("%s: padding_side is left, and only right is supported", path)
	case c.Split:
		return nil, fmt.Errorf("%s: split_special_tokens is true, and only false is supported", path)
	}
	for _, name := range c.Files {
		if name != tokenizerFile {
			return nil, fmt.Errorf("%s: fast_tokenizer_files names %q, and only %s is read", path, name, tokenizerFile)
		}
	}
	return c, nil
}

// readTokens takes the special tokens of a file: keys that end in _token, and lists of extra ones. inMap says that it
// is special_tokens_map.json, in which all tokens are special.
func (c *settings) readTokens(path string, data []byte, inMap bool) error {
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(data, &keys); err != nil {
		return jsonError(path, data, err)
	}
	if !inMap {
		_, c.saysAccents = keys["strip_accents"]
	}
	for key, raw := range keys {
		if !strings.HasSuffix(key, "_token") || raw[0] != '"' && raw[0] != '{' && string(raw) != "null" {
			continue
		}
		c.named[key] = true
		if string(raw) == "null" {
			delete(c.special, key)
			continue
		}
		var token addedToken
		if err := json.Unmarshal(raw, &token); err != nil {
			return fmt.Errorf("%s: %s: %w", path, key, err)
		}
		token.Special = token.Special || inMap
		c.special[key] = token
	}
	list := func(key string) (tokens []addedToken, err error) {
		raw, ok := keys[key]
		if !ok || string(raw) == "null" {
			return nil, nil
		}
		if raw[0] == '{' { // tokens with names of their own
			var named map[string]addedToken
			if err = json.Unmarshal(raw, &named); err == nil {
				for name, token := range named {
					c.named[name], c.special[name] = true, token
				}
			}
		} else {
			err = json.Unmarshal(raw, &tokens)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", path, key, err)
		}
		for i := range tokens {
			tokens[i].Special = tokens[i].Special || inMap
		}
		return tokens, nil
	}
	extra, err := list("extra_special_tokens")
	if err != nil {
		return err
	}
	additional, err := list("additional_special_tokens")
	if err != nil {
		return err
	}
	_, says := keys["extra_special_tokens"]
	switch {
	case inMap:
		c.extra = append(c.extra, extra...)
		if c.extra == nil {
			c.additional = additional
		}
	case says:
		c.extra = extra
	default:
		c.extra = additional
	}
	return nil
}

// name is the special token of a key, of BERT where no file names it.
func (c *settings) name(key string) string {
	if token, ok := c.special[key]; ok || c.named[key] {
		return token.Content
	}
	return bertNames[key]
}

// maxLength is how many tokens an encoding may have; 0 where nothing says. transformers writes 1e30 for nothing.
func (c *settings) maxLength() int {
	if c.MaxLength == nil || *c.MaxLength < 1 || *c.MaxLength > math.MaxInt32 {
		return 0
	}
	return int(*c.MaxLength)
}
