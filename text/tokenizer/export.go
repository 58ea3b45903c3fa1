package tokenizer

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Export writes the files that Save does, and those of tokenizer.json, vocab.txt, tokenizer_config.json and
// special_tokens_map.json that the tokenizer was loaded without, for programs that read one of them alone. Whoever
// reads the folder, or its tokenizer.json, gets the ids that Encode gives. maxLength, where it is not 0, is written as
// model_max_length, where transformers cuts a text that it is asked to cut.
//
// A tokenizer with [Tokenizer.Implied] tokens gets no tokenizer.json: their ids are behind the vocabulary's.
func (t *Tokenizer) Export(folder string, maxLength int) error {
	files := maps.Clone(t.files)
	for _, make := range []func(map[string][]byte) error{
		t.completeJSON, t.completeVocab, t.completeMap, // before the config, whose absence it goes by
		func(files map[string][]byte) error { return t.completeConfig(files, maxLength) },
	} {
		if err := make(files); err != nil {
			return fmt.Errorf("tokenizer: export: %w", err)
		}
	}
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return fmt.Errorf("tokenizer: export: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := writeFile(filepath.Join(folder, name), files[name]); err != nil {
			return fmt.Errorf("tokenizer: export: %w", err)
		}
	}
	return nil
}

// completeJSON makes tokenizer.json, unless there is one that says what all files together do.
func (t *Tokenizer) completeJSON(files map[string][]byte) (err error) {
	if len(t.implied) > 0 {
		return nil
	}
	if data := files[tokenizerFile]; data != nil {
		own, err := parseJSON(tokenizerFile, data)
		if err != nil || t.saidBy(&own) {
			return err
		}
	}
	files[tokenizerFile], err = t.json()
	return err
}

// saidBy reports whether a tokenizer.json says by itself what the tokenizer does.
func (t *Tokenizer) saidBy(own *spec) bool {
	s := &t.spec
	alone := own.normalizer == s.normalizer && own.unknown == s.unknown && own.prefix == s.prefix &&
		own.maxChars == s.maxChars && own.decoder == s.decoder &&
		reflect.DeepEqual(own.single, s.single) && reflect.DeepEqual(own.pair, s.pair)
	return alone && maps.Equal(own.byID(), s.byID())
}

// byID are the added tokens by their ids; of several with one id the last counts, as in [Tokenizer.add].
func (s *spec) byID() map[int32]AddedToken {
	ids, out := s.ids(), map[int32]AddedToken{}
	for _, token := range s.added {
		if token.Content != "" {
			out[ids[token.Content]] = token
		}
	}
	return out
}

// json is a tokenizer.json as the tokenizers library writes it.
func (t *Tokenizer) json() ([]byte, error) {
	type object = map[string]any
	s := &t.spec
	added := []numbered{}
	byID := s.byID()
	for _, id := range slices.Sorted(maps.Keys(byID)) {
		added = append(added, numbered{byID[id], int(id)})
	}
	specials := object{}
	pieces := func(of template) []object {
		list := []object{}
		for _, p := range of {
			if p.sequence >= 0 {
				list = append(list, object{"Sequence": object{"id": string(rune('A' + p.sequence)), "type_id": p.typeID}})
				continue
			}
			tokens := make([]string, len(p.ids))
			for i, id := range p.ids {
				tokens[i], _ = t.Token(id)
			}
			name := strings.Join(tokens, " ")
			specials[name] = object{"id": name, "ids": p.ids, "tokens": tokens}
			list = append(list, object{"SpecialToken": object{"id": name, "type_id": p.typeID}})
		}
		return list
	}
	vocab, err := ordered(s.vocab)
	if err != nil {
		return nil, err
	}
	n := s.normalizer
	out := object{
		"version": "1.0", "truncation": nil, "padding": nil, "added_tokens": added,
		"normalizer": object{"type": "BertNormalizer", "clean_text": n.CleanText, "handle_chinese_chars": n.ChineseChars,
			"strip_accents": n.StripAccents, "lowercase": n.Lowercase},
		"pre_tokenizer": object{"type": "BertPreTokenizer"},
		"post_processor": object{"type": "TemplateProcessing", "single": pieces(s.single), "pair": pieces(s.pair),
			"special_tokens": specials},
		"decoder": object{"type": "WordPiece", "prefix": s.decoder.prefix, "cleanup": s.decoder.cleanup},
		"model": object{"type": "WordPiece", "unk_token": s.unknown, "continuing_subword_prefix": s.prefix,
			"max_input_chars_per_word": s.maxChars, "vocab": vocab},
	}
	if s.decoder.spaces {
		out["decoder"] = nil
	}
	return indented(out)
}

// ordered is a vocabulary by id.
func ordered(vocab map[string]int32) (json.RawMessage, error) {
	tokens := slices.SortedFunc(maps.Keys(vocab), func(a, b string) int {
		return cmp.Or(cmp.Compare(vocab[a], vocab[b]), cmp.Compare(a, b))
	})
	out := []byte("{")
	for i, token := range tokens {
		if i > 0 {
			out = append(out, ',')
		}
		key, err := json.Marshal(token)
		if err != nil {
			return nil, err
		}
		out = strconv.AppendInt(append(append(out, key...), ':'), int64(vocab[token]), 10)
	}
	return append(out, '}'), nil
}

// completeVocab makes vocab.txt, where lines can say what the vocabulary is.
func (t *Tokenizer) completeVocab(files map[string][]byte) error {
	if files[vocabFile] != nil {
		return nil
	}
	lines := make([]string, len(t.spec.vocab))
	filled := 0
	for token, id := range t.spec.vocab {
		if int(id) >= len(lines) || lines[id] != "" || token == "" || strings.ContainsAny(token, "\n\r") {
			return nil
		}
		lines[id] = token
		filled++
	}
	if filled == len(lines) {
		files[vocabFile] = []byte(strings.Join(lines, "\n") + "\n")
	}
	return nil
}

// completeMap makes special_tokens_map.json where that only repeats what tokenizer_config.json says, or would say.
func (t *Tokenizer) completeMap(files map[string][]byte) (err error) {
	if files[specialFile] != nil {
		return nil
	}
	if data := files[configFile]; data != nil {
		var keys map[string]json.RawMessage
		if err := json.Unmarshal(data, &keys); err != nil {
			return jsonError(configFile, data, err)
		}
		for _, key := range specialKeys {
			if raw := keys[key]; len(raw) > 0 && raw[0] == '{' { // with properties, which a plain name would take away
				return nil
			}
		}
	}
	if len(t.spec.names) > 0 {
		files[specialFile], err = indented(t.spec.names)
	}
	return err
}

// completeConfig makes tokenizer_config.json, or sets the length in the one that there is.
func (t *Tokenizer) completeConfig(files map[string][]byte, maxLength int) (err error) {
	keys := map[string]any{}
	if data := files[configFile]; data != nil {
		if maxLength == 0 {
			return nil
		}
		var raw map[string]json.RawMessage // numbers stay as they are written
		if err := json.Unmarshal(data, &raw); err != nil {
			return jsonError(configFile, data, err)
		}
		for key, value := range raw {
			keys[key] = value
		}
	} else {
		for key, name := range t.spec.names {
			keys[key] = name
		}
		keys["tokenizer_class"] = cmp.Or(t.spec.class, "BertTokenizer")
		if strings.HasPrefix(keys["tokenizer_class"].(string), "Bert") {
			n := t.spec.normalizer
			keys["do_lower_case"], keys["tokenize_chinese_chars"], keys["strip_accents"] = n.Lowercase, n.ChineseChars, n.StripAccents
		}
	}
	if maxLength > 0 {
		keys["model_max_length"] = maxLength
	}
	files[configFile], err = indented(keys)
	return err
}

// indented is JSON as people read it, with keys sorted.
func indented(value any) ([]byte, error) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(value)
	return out.Bytes(), err
}
