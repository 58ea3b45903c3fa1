package tokenizer

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// read makes a tokenizer of a folder; rules keeps what takes most of the time.
func read(t *testing.T, folder string, rules map[Normalizer]*ruleTable) *Tokenizer {
	t.Helper()
	f, err := readFiles(folder)
	require.NoError(t, err)
	s, err := f.spec()
	require.NoError(t, err)
	return assembled(t, s, f.data, rules)
}

func assembled(t *testing.T, s spec, files map[string][]byte, rules map[Normalizer]*ruleTable) *Tokenizer {
	t.Helper()
	if rules[s.normalizer] == nil {
		rules[s.normalizer] = newRules(s.normalizer)
	}
	tok, err := newTokenizer(s, rules[s.normalizer], files)
	require.NoError(t, err)
	return tok
}

// What is exported of every kind of folder reads as the folder does, as a whole and by its tokenizer.json alone.
func TestExport(t *testing.T) {
	var golden struct {
		Texts []string
		Pairs [][2]string
		Cases []struct {
			Name, Error string
			Files       map[string]string
		}
	}
	require.NoError(t, json.NewDecoder(bytes.NewReader(unzip("folders.json.gz"))).Decode(&golden))
	rules := map[Normalizer]*ruleTable{}
	exported, alone, regenerated := 0, 0, 0
	for _, c := range golden.Cases {
		if _, ok := refused[c.Name]; ok || c.Error != "" {
			continue
		}
		exported++
		t.Run(c.Name, func(t *testing.T) {
			folder := t.TempDir()
			for name, data := range c.Files {
				write(t, folder, name, data)
			}
			tok := read(t, folder, rules)
			out := filepath.Join(t.TempDir(), "out")
			require.NoError(t, tok.Export(out, 33))
			for name, data := range c.Files {
				saved, err := os.ReadFile(filepath.Join(out, name))
				switch {
				case name == modelFile: // the model's
					write(t, out, name, data)
				case name == tokenizerFile && data != string(saved):
					regenerated++
				case name != configFile:
					require.NoError(t, err)
					assert.Equal(t, data, string(saved), name)
				}
			}
			again := read(t, out, rules)
			others := []*Tokenizer{again}
			assert.Equal(t, 33, again.MaxLength())
			assert.Equal(t, tok.VocabSize(), again.VocabSize())
			assert.Equal(t, tok.Implied(), again.Implied())
			if data, err := os.ReadFile(filepath.Join(out, tokenizerFile)); err == nil && len(tok.Implied()) == 0 {
				s, err := parseJSON(tokenizerFile, data)
				require.NoError(t, err)
				others = append(others, assembled(t, s, nil, rules))
				alone++
			}
			for _, other := range others {
				for _, text := range golden.Texts {
					want, got := tok.AppendIDs(nil, text, 0), other.AppendIDs(nil, text, 0)
					assert.Equal(t, want, got, "%q", text)
					assert.Equal(t, tok.DecodeAll(want), other.DecodeAll(got), "%q", text)
				}
				for _, pair := range golden.Pairs {
					want, err := tok.EncodePair(pair[0], pair[1], Options{})
					require.NoError(t, err)
					got, err := other.EncodePair(pair[0], pair[1], Options{})
					require.NoError(t, err)
					assert.Equal(t, want, got, "%q", pair)
				}
			}
		})
	}
	assert.Greater(t, exported, 60)
	assert.Greater(t, alone, 40)
	assert.Positive(t, regenerated, "a tokenizer.json that tokenizer_config.json overrules is written anew")
}

func TestExportOfVocabularyAlone(t *testing.T) {
	folder := t.TempDir()
	write(t, folder, vocabFile, "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n<a> & \"b\"\nword\n##s\n")
	tok, err := Load(folder)
	require.NoError(t, err)
	out := filepath.Join(t.TempDir(), "out")
	require.NoError(t, tok.Export(out, 0))
	entries, err := os.ReadDir(out)
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	assert.Equal(t, []string{specialFile, tokenizerFile, configFile, vocabFile}, names)
	config, err := os.ReadFile(filepath.Join(out, configFile))
	require.NoError(t, err)
	assert.JSONEq(t, `{"cls_token": "[CLS]", "do_lower_case": true, "mask_token": "[MASK]", "pad_token": "[PAD]", "sep_token": "[SEP]",
		"strip_accents": true, "tokenize_chinese_chars": true, "tokenizer_class": "BertTokenizer", "unk_token": "[UNK]"}`, string(config))
	require.ErrorContains(t, tok.Export("/dev/null/out", 0), "tokenizer: export: mkdir /dev/null: not a directory")
}
