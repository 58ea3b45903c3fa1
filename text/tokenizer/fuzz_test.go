package tokenizer

import (
	"slices"
	"strings"
	"sync"
	"testing"
)

func FuzzEncode(f *testing.F) {
	for _, c := range readGolden().Hard[:300] {
		if len(c.Text) < 200 {
			f.Add(string(c.Text), "and [MASK]", 5)
		}
	}
	for _, c := range readGolden().Added[0].Cases {
		f.Add(string(c.Text), "lone", 0)
	}
	toks := []*Tokenizer{uncased(f), configured(f, "cased"), configured(f, "raw"), withAdded(f)}
	f.Fuzz(func(t *testing.T, a, b string, length int) {
		for i, tok := range toks {
			e, err := tok.Encode(a, Options{})
			if err != nil {
				t.Fatal(err)
			}
			check(t, tok, e, [2]string{a})
			if ids := tok.AppendIDs(nil, a, 0); !slices.Equal(ids, e.IDs) {
				t.Fatalf("tokenizer %d: AppendIDs %v, Encode %v", i, ids, e.IDs)
			}
			tok.DecodeAll(e.IDs)
			for _, strategy := range []Strategy{LongestFirst, OnlyFirst, OnlySecond} {
				options := Options{MaxLength: length, Strategy: strategy}
				if e, err := tok.EncodePair(a, b, options); err == nil {
					check(t, tok, e, [2]string{a, b})
					if length > 0 && len(e.IDs) > length {
						t.Fatalf("tokenizer %d: %d ids for max length %d", i, len(e.IDs), length)
					}
				}
				e, err := tok.Encode(a, options)
				if err != nil {
					continue
				}
				if ids := tok.AppendIDs(nil, a, length); !slices.Equal(ids, e.IDs) {
					t.Fatalf("tokenizer %d: max length %d: AppendIDs %v, Encode %v", i, length, ids, e.IDs)
				}
			}
		}
	})
}

// check fails unless the encoding is sound: as many of each, known ids, offsets within the texts
// and in order.
func check(t *testing.T, tok *Tokenizer, e Encoding, texts [2]string) {
	n := len(e.IDs)
	if len(e.TypeIDs) != n || len(e.Offsets) != n || len(e.SpecialMask) != n {
		t.Fatalf("lengths %d %d %d %d", n, len(e.TypeIDs), len(e.Offsets), len(e.SpecialMask))
	}
	sequence, last := int64(0), [2]int{}
	for i, id := range e.IDs {
		if id < 0 || id >= int64(tok.VocabSize()) {
			t.Fatalf("id %d of %d", id, tok.VocabSize())
		}
		if e.SpecialMask[i] == 1 {
			continue
		}
		if e.TypeIDs[i] != sequence {
			sequence, last = e.TypeIDs[i], [2]int{}
		}
		o := e.Offsets[i]
		if o[0] < last[0] || o[1] < last[1] || o[0] >= o[1] || o[1] > len(texts[sequence]) {
			t.Fatalf("offsets %v after %v in %d bytes of %q", o, last, len(texts[sequence]), texts[sequence])
		}
		last = o
	}
}

func FuzzLoad(f *testing.F) {
	for _, seed := range []string{smallJSON, "", "{", readGolden().Configs["uncased"],
		strings.Replace(smallJSON, `"BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]`,
			`"TemplateProcessing", "single": [{"SpecialToken": {"id": "c", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
			"pair": [{"Sequence": {"id": "B", "type_id": 1}}, {"Sequence": {"id": "A", "type_id": 0}}], "special_tokens": {"c": {"id": "c", "ids": [2, 3], "tokens": ["[CLS]", "[SEP]"]}}`, 1)} {
		f.Add([]byte(seed), []byte("{}"), "the cats <new>")
	}
	f.Add([]byte(smallVocab), []byte(`{"do_lower_case": false, "unk_token": {"content": "[UNK]"}}`), "Cats é")
	// Rules take most of the time of loading and depend on four switches alone.
	var rules sync.Map
	build := func(s spec) (*Tokenizer, error) {
		r, ok := rules.Load(s.normalizer)
		if !ok {
			r, _ = rules.LoadOrStore(s.normalizer, newRules(s.normalizer))
		}
		return newTokenizer(s, r.(*ruleTable), nil)
	}
	f.Fuzz(func(t *testing.T, data, config []byte, text string) {
		s, err := parseJSON("tokenizer.json", data)
		if err == nil {
			if tok, err := build(s); err == nil {
				exercise(t, tok, text)
			}
		} else if !strings.HasPrefix(err.Error(), "tokenizer.json:") {
			t.Fatalf("the error does not name the file: %v", err)
		}
		for _, name := range []string{vocabFile, tokenizerFile} {
			s, err = files{vocab: vocabFile, data: map[string][]byte{name: data, configFile: config}}.spec()
			if err == nil {
				if tok, err := build(s); err == nil {
					exercise(t, tok, text)
				}
			} else if !strings.HasPrefix(err.Error(), name+":") && !strings.HasPrefix(err.Error(), "tokenizer_config.json:") {
				t.Fatalf("the error does not name the file: %v", err)
			}
		}
	})
}

// exercise uses a tokenizer made of arbitrary data: every id that comes out must be a token's.
func exercise(t *testing.T, tok *Tokenizer, text string) {
	e, err := tok.EncodePair(text, "x "+text, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range tok.AppendIDs(e.IDs, text, 3) {
		if _, ok := tok.Token(id); !ok {
			t.Fatalf("id %d is no token's", id)
		}
	}
	tok.DecodeAll(e.IDs)
}
