package tokenizer

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Names of the files that a checkpoint's folder has.
const (
	tokenizerFile = "tokenizer.json"
	vocabFile     = "vocab.txt"
	configFile    = "tokenizer_config.json"
	specialFile   = "special_tokens_map.json"
	addedFile     = "added_tokens.json"
	modelFile     = "config.json" // of which only tokenizer_class is read
)

// files are those of a folder that bear on the tokenizer, by name.
type files struct {
	folder string
	vocab  string // the path of vocab.txt, which may have another name
	model  []byte // config.json
	data   map[string][]byte
}

// readFiles reads the files that there are.
func readFiles(folder string) (files, error) {
	f := files{folder: folder, vocab: filepath.Join(folder, vocabFile), data: map[string][]byte{}}
	for _, name := range []string{tokenizerFile, vocabFile, configFile, specialFile, addedFile} {
		data, err := readFile(filepath.Join(folder, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return f, err
		}
		f.data[name] = data
	}
	model, err := readFile(f.path(modelFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	f.model = model
	return f, nil
}

// readFile reads a file and refuses what git left in the place of one.
func readFile(path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if err == nil && bytes.HasPrefix(data, []byte("version https://git-lfs")) {
		err = fmt.Errorf("%s: this is a git-lfs pointer: fetch the file itself (git lfs pull)", path)
	}
	return data, err
}

func (f files) path(name string) string { return filepath.Join(f.folder, name) }

// tokenizer makes the tokenizer that AutoTokenizer.from_pretrained of transformers 5 makes of the folder of a BERT
// model.
func (f files) tokenizer() (*Tokenizer, error) {
	s, err := f.spec()
	if err != nil {
		return nil, err
	}
	t, err := newTokenizer(s, newRules(s.normalizer), f.data)
	if err != nil { // of vocab.txt the description has all that is asked for
		return nil, fmt.Errorf("%s: %w", f.path(tokenizerFile), err)
	}
	return t, nil
}

func (f files) spec() (s spec, err error) {
	c, err := f.settings()
	if err != nil {
		return s, err
	}
	class, from := c.Class, configFile
	if class == "" && f.model != nil {
		from = modelFile
		var m struct {
			Class string `json:"tokenizer_class"`
		}
		if err := json.Unmarshal(f.model, &m); err != nil {
			return s, jsonError(f.path(modelFile), f.model, err)
		}
		class = m.Class
	}
	switch strings.TrimSuffix(class, "Fast") {
	case "", "BertTokenizer", "ConvBertTokenizer", "DistilBertTokenizer", "ElectraTokenizer", "LayoutLMTokenizer",
		"LxmertTokenizer", "MobileBertTokenizer", "SqueezeBertTokenizer":
		s, err = f.bert(c)
	case "PreTrainedTokenizer", "TokenizersBackend":
		if f.data[tokenizerFile] == nil {
			return s, fmt.Errorf("%s: tokenizer_class is %q, which is made of a %s, and there is none",
				f.path(from), class, tokenizerFile)
		}
		s, err = f.backend(c)
	default:
		err = fmt.Errorf("%s: tokenizer_class is %q, and only BertTokenizer and PreTrainedTokenizerFast are supported",
			f.path(from), class)
	}
	s.maxLength, s.class = c.maxLength(), class
	s.name(c)
	return s, err
}

// bert is the description of a BertTokenizer: of tokenizer.json only the vocabulary and the added tokens count, the
// rest is what tokenizer_config.json says, or else BERT's. Where tokenizer.json says otherwise and
// tokenizer_config.json is silent, one of the two is wrong, which is an error.
func (f files) bert(c *settings) (spec, error) {
	s := spec{unknown: c.name("unk_token"), prefix: continuingPrefix, maxChars: maxCharsPerWord,
		decoder: decoder{prefix: continuingPrefix, cleanup: true}}
	lower := c.Lowercase == nil || *c.Lowercase
	chinese := c.ChineseChars == nil || *c.ChineseChars
	s.normalizer = Normalizer{CleanText: true, ChineseChars: chinese, StripAccents: lower, Lowercase: lower}
	if c.StripAccents != nil {
		s.normalizer.StripAccents = *c.StripAccents
	}
	lacks := func(token string) error { return fmt.Errorf("%s: no line holds the token %q", f.vocab, token) }
	var own *spec
	if data := f.data[tokenizerFile]; data != nil {
		lacks = func(token string) error {
			return fmt.Errorf("%s: model.vocab has no token %q", f.path(tokenizerFile), token)
		}
		parsed, err := parseJSON(f.path(tokenizerFile), data)
		if err != nil {
			return s, err
		}
		own, s.vocab, s.decoder = &parsed, parsed.vocab, parsed.decoder
	} else {
		var err error
		if s.vocab, err = parseLines(f.vocab, f.data[vocabFile]); err != nil {
			return s, err
		}
	}
	for _, key := range specialKeys {
		if !c.named[key] && bertNames[key] != "" {
			c.special[key] = plainToken(bertNames[key])
		}
	}
	if err := f.addTokens(&s, c, own); err != nil {
		return s, err
	}
	ids := s.ids()
	for _, key := range []string{"unk_token", "sep_token", "cls_token"} {
		if _, ok := ids[c.name(key)]; !ok || slices.Contains(s.implied, c.name(key)) {
			return s, lacks(c.name(key))
		}
	}
	if _, ok := s.vocab[s.unknown]; !ok {
		return s, lacks(s.unknown)
	}
	s.single, s.pair = bertTemplates(int64(ids[c.name("cls_token")]), int64(ids[c.name("sep_token")]))
	if own != nil {
		return s, f.compare(c, &s, own)
	}
	return s, nil
}

// backend is the description in tokenizer.json, to which the other files only add tokens.
func (f files) backend(c *settings) (spec, error) {
	s, err := parseJSON(f.path(tokenizerFile), f.data[tokenizerFile])
	if err != nil {
		return s, err
	}
	if s.padding != "" && !c.named["pad_token"] {
		c.special["pad_token"] = plainToken(s.padding)
	}
	err = f.addTokens(&s, c, &s) // again those that it has, which counts where the other files change one
	return s, err
}

// addTokens sets the added tokens, in the order in which transformers adds them: the numbered ones, those with a name,
// and the extra ones. own is tokenizer.json's description, nil where there is none.
func (f files) addTokens(s *spec, c *settings, own *spec) error {
	numbered := map[int]AddedToken{}
	if c.Decoder != nil {
		for id, token := range c.Decoder {
			n, err := strconv.Atoi(id)
			if err != nil {
				return fmt.Errorf("%s: added_tokens_decoder: %q is no id", f.path(configFile), id)
			}
			numbered[n] = token.added()
		}
	} else {
		known := map[string]bool{}
		for _, token := range c.special {
			known[token.Content] = true
		}
		for _, token := range c.extra {
			known[token.Content] = true
		}
		var added map[string]int
		if data := f.data[addedFile]; data != nil {
			if err := json.Unmarshal(data, &added); err != nil {
				return jsonError(f.path(addedFile), data, err)
			}
		}
		for content, id := range added {
			if other, ok := numbered[id]; ok {
				return fmt.Errorf("%s: %q and %q have one id, %d",
					f.path(addedFile), min(content, other.Content), max(content, other.Content), id)
			}
			special := known[content]
			numbered[id] = AddedToken{Content: content, Normalized: !special, Special: special}
		}
		if own != nil {
			for _, token := range own.numbered {
				numbered[token.ID] = token.AddedToken
			}
		}
	}
	names := map[string]bool{}
	for _, token := range c.special {
		names[token.Content] = true
	}
	there := map[string]bool{}
	add := func(token AddedToken) {
		token.Special = token.Special || names[token.Content]
		s.added, there[token.Content] = append(s.added, token), true
	}
	for _, id := range slices.Sorted(maps.Keys(numbered)) {
		add(numbered[id])
	}
	others := slices.Sorted(maps.Keys(c.special))
	others = slices.DeleteFunc(others, func(key string) bool { return slices.Contains(specialKeys, key) })
	for _, key := range slices.Concat(specialKeys, others) {
		token, ok := c.special[key]
		if !ok || there[token.Content] {
			continue
		}
		if _, listed := s.vocab[token.Content]; !listed && !c.named[key] {
			s.implied = append(s.implied, token.Content)
		}
		add(token.added())
	}
	for _, token := range slices.Concat(c.extra, c.additional) {
		if !there[token.Content] {
			add(token.added())
		}
	}
	return nil
}

// ids are those of all tokens, as newTokenizer will number them.
func (s *spec) ids() map[string]int32 {
	ids := maps.Clone(s.vocab)
	for _, token := range s.added {
		if _, ok := ids[token.Content]; !ok {
			ids[token.Content] = int32(len(ids))
		}
	}
	return ids
}

// compare refuses a tokenizer.json that differs from what transformers makes of the folder where no other file says so.
func (f files) compare(c *settings, made, own *spec) error {
	var key, setting string
	var has, taken any
	differ := func(inFile, inConfig string, said bool, a, b any) {
		if key == "" && !said && a != b {
			key, setting, has, taken = inFile, inConfig, a, b
		}
	}
	was, is := own.normalizer, made.normalizer
	differ("normalizer.lowercase", "do_lower_case", c.Lowercase != nil, was.Lowercase, is.Lowercase)
	if own.stripAccents != nil {
		differ("normalizer.strip_accents", "strip_accents", c.saysAccents, *own.stripAccents, is.StripAccents)
	}
	chinese := c.ChineseChars != nil
	differ("normalizer.handle_chinese_chars", "tokenize_chinese_chars", chinese, was.ChineseChars, is.ChineseChars)
	differ("model.unk_token", "unk_token", c.named["unk_token"], own.unknown, made.unknown)
	const ends = "cls_token and sep_token"
	saysEnds := c.named["cls_token"] || c.named["sep_token"]
	differ("post_processor.single", ends, saysEnds, own.written(own.single), made.written(made.single))
	differ("post_processor.pair", ends, saysEnds, own.written(own.pair), made.written(made.pair))
	// No key of tokenizer_config.json sets these: only another class reads them.
	const class = `tokenizer_class ("PreTrainedTokenizerFast" takes tokenizer.json as it is)`
	differ("normalizer.clean_text", class, false, was.CleanText, is.CleanText)
	differ("model.continuing_subword_prefix", class, false, own.prefix, made.prefix)
	differ("model.max_input_chars_per_word", class, false, own.maxChars, made.maxChars)
	if key == "" {
		return nil
	}
	silent := "does not say otherwise"
	if f.data[configFile] == nil {
		silent = "is not there to say otherwise"
	}
	return fmt.Errorf("%s: %s is %v, and transformers takes %v, as %s %s: set %s there",
		f.path(tokenizerFile), key, has, taken, f.path(configFile), silent, setting)
}

// name keeps the special tokens' names, but for those that the vocabulary lacks and no file names.
func (s *spec) name(c *settings) {
	s.names = map[string]string{}
	for _, key := range specialKeys {
		if token, ok := c.special[key]; ok && !slices.Contains(s.implied, token.Content) {
			s.names[key] = token.Content
		}
	}
}

// written shows a template: "[CLS]:0 A:0 [SEP]:0".
func (s *spec) written(t template) string {
	names := map[int64]string{}
	for token, id := range s.ids() {
		names[int64(id)] = token
	}
	var parts []string
	for _, piece := range t {
		if piece.sequence >= 0 {
			parts = append(parts, fmt.Sprintf("%c:%d", 'A'+rune(piece.sequence), piece.typeID))
		}
		for _, id := range piece.ids {
			parts = append(parts, fmt.Sprintf("%s:%d", cmp.Or(names[id], strconv.FormatInt(id, 10)), piece.typeID))
		}
	}
	return strings.Join(parts, " ")
}
