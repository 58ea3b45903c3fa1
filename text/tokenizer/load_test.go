package tokenizer

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const smallVocab = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nthe\ncat\n##s\nCat\né\ne\n!\n"

// smallJSON is a whole tokenizer.json; the tests below break it in one place each.
const smallJSON = `{
"added_tokens": [{"id": 2, "content": "[CLS]", "special": true}, {"id": 7, "content": "<new>"}],
"normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true},
"pre_tokenizer": {"type": "BertPreTokenizer"},
"post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
"decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
"model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 5,
"vocab": {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "the": 4, "cat": 5, "##s": 6}}
}`

func write(t *testing.T, folder, name, data string) string {
	t.Helper()
	path := filepath.Join(folder, name)
	require.NoError(t, os.WriteFile(path, []byte(data), 0o644))
	return path
}

func TestLoadJSON(t *testing.T) {
	tok, err := Load(write(t, t.TempDir(), "tokenizer.json", smallJSON))
	require.NoError(t, err)
	assert.Equal(t, 8, tok.VocabSize())
	assert.Equal(t, []int64{2, 4, 5, 6, 7, 1, 3}, tok.AppendIDs(nil, "The càts<new> thecat", 0))
	assert.Equal(t, "the cats <new> [UNK] [SEP]", tok.Decode([]int64{2, 4, 5, 6, 7, 1, 3}))
	id, ok := tok.ID("<new>")
	assert.True(t, ok)
	assert.EqualValues(t, 7, id)
	_, ok = tok.ID("dog")
	assert.False(t, ok)
	for _, id := range []int64{-1, 8, 1 << 40} {
		_, ok = tok.Token(id)
		assert.False(t, ok)
	}
}

func TestLoadVocab(t *testing.T) {
	tests := []struct {
		name, config string
		want         []int64
		normalizer   Normalizer
	}{
		{"no config", "", []int64{2, 6, 10, 3}, Normalizer{true, true, true, true}},
		{"cased", `{"do_lower_case": false}`, []int64{2, 8, 9, 3}, Normalizer{true, true, false, false}},
		{"accents kept", `{"strip_accents": false, "tokenize_chinese_chars": false}`, []int64{2, 6, 9, 3}, Normalizer{true, false, false, true}},
		{"other names", `{"cls_token": {"content": "the"}, "sep_token": "!", "strip_accents": null}`, []int64{5, 6, 10, 11}, Normalizer{true, true, true, true}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			folder := t.TempDir()
			path := write(t, folder, "vocab.txt", strings.ReplaceAll(smallVocab, "\n", "\r\n"))
			if test.config != "" {
				write(t, folder, "tokenizer_config.json", test.config)
			}
			for _, from := range []string{folder, path} {
				tok, err := Load(from)
				require.NoError(t, err)
				assert.Equal(t, test.normalizer, tok.Normalizer())
				assert.Equal(t, test.want, tok.AppendIDs(nil, "Cat é", 0))
				assert.Equal(t, 12, tok.VocabSize())
			}
		})
	}
}

func TestLoadSaysWhatIsWrong(t *testing.T) {
	tests := []struct{ name, old, new, want string }{
		{"BPE", `"type": "WordPiece", "unk`, `"type": "BPE", "unk`, `tokenizer.json: model.type: "BPE" is not supported; a BERT tokenizer has WordPiece`},
		{"no model", `"model"`, `"model2"`, `model: it is missing`},
		{"normalizer", `"BertNormalizer"`, `"NFC"`, `normalizer.type: "NFC" is not supported`},
		{"no normalizer", `"normalizer"`, `"n"`, `normalizer: it is missing`},
		{"pre-tokenizer", `"BertPreTokenizer"`, `"ByteLevel"`, `pre_tokenizer.type: "ByteLevel" is not supported`},
		{"no pre-tokenizer", `"pre_tokenizer"`, `"p"`, `pre_tokenizer: it is missing`},
		{"post-processor", `"BertProcessing"`, `"RobertaProcessing"`, `post_processor.type: "RobertaProcessing" is not supported`},
		{"decoder", `{"type": "WordPiece", "pre`, `{"type": "BPEDecoder", "pre`, `decoder.type: "BPEDecoder" is not supported`},
		{"no vocabulary", `"vocab"`, `"v"`, `model.vocab: it is missing or empty`},
		{"vocabulary of another form", `"vocab": {`, `"vocab": [], "x": {`, `model.vocab: `},
		{"id", `"the": 4`, `"the": -4`, `model.vocab: id -4 of "the" is out of range`},
		{"large id", `"the": 4`, `"the": 4294967295`, `model.vocab: id 4294967295 of "the" is out of range`},
		{"unknown", `"unk_token": "[UNK]"`, `"unk_token": "<unk>"`, `model.unk_token: "<unk>" is not in model.vocab`},
		{"longest word", `: 5,`, `: -5,`, `model.max_input_chars_per_word: -5 is negative`},
		{"special id", `["[SEP]", 3]`, `["[SEP]", 33]`, `post_processor: no token has the special token's id 33`},
		{"special pair", `["[SEP]", 3]`, `["[SEP]"]`, `a token and its id are wanted`},
		{"kind of value", `"lowercase": true`, `"lowercase": 1`, `tokenizer.json:3: normalizer.lowercase: a JSON number stands where`},
		{"cut off", `"vocab": {"[PAD]"`, ``, `tokenizer.json:8: `},
		{"not UTF-8", `<new>`, "\xff", `it is not UTF-8`},
		{"piece", `"BertProcessing",`, `"TemplateProcessing", "single": [{"SpecialToken": {"id": "x"}}],`, `post_processor.single[0]: "x" is not in post_processor.special_tokens`},
		{"sequence", `"BertProcessing",`, `"TemplateProcessing", "single": [{"Sequence": {"id": "C"}}],`, `post_processor.single[0]: sequence "C" is neither A nor B`},
		{"no piece", `"BertProcessing",`, `"TemplateProcessing", "single": [{}],`, `post_processor.single[0]: it is neither`},
		{"type id", `"BertProcessing",`, `"TemplateProcessing", "single": [{"Sequence": {"id": "A", "type_id": -1}}],`, `type_id -1 is negative`},
		{"no text", `"BertProcessing",`, `"TemplateProcessing",`, `post_processor.single: each text must stand in it once`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			broken := strings.Replace(smallJSON, test.old, test.new, 1)
			require.NotEqual(t, smallJSON, broken)
			path := write(t, t.TempDir(), "tokenizer.json", broken)
			_, err := Load(path)
			assert.ErrorContains(t, err, path)
			assert.ErrorContains(t, err, test.want)
		})
	}
}

func TestLoadVocabSaysWhatIsWrong(t *testing.T) {
	tests := []struct{ name, vocab, config, want string }{
		{"empty", "", "", "vocab.txt: it is empty"},
		{"not UTF-8", "[UNK]\n\xff\n", "", "vocab.txt: line 2 is not UTF-8"},
		{"no [CLS]", "[UNK]\n[SEP]\n", "", `vocab.txt: no line holds the token "[CLS]"`},
		{"config", smallVocab, `{"do_lower_case": "no"}`, "tokenizer_config.json:1: do_lower_case: a JSON string"},
		{"config syntax", smallVocab, "{\n]", "tokenizer_config.json:2: "},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			folder := t.TempDir()
			write(t, folder, "vocab.txt", test.vocab)
			if test.config != "" {
				write(t, folder, "tokenizer_config.json", test.config)
			}
			_, err := Load(folder)
			assert.ErrorContains(t, err, filepath.Join(folder, test.want))
		})
	}
	empty := t.TempDir()
	_, err := Load(empty)
	assert.ErrorContains(t, err, empty+": there is neither tokenizer.json nor vocab.txt")
	_, err = Load(filepath.Join(empty, "none"))
	assert.ErrorIs(t, err, os.ErrNotExist)
}

func TestSaveKeepsTheFiles(t *testing.T) {
	from, to := t.TempDir(), filepath.Join(t.TempDir(), "run", "tokenizer")
	want := map[string]string{"tokenizer.json": smallJSON, "vocab.txt": smallVocab, "tokenizer_config.json": `{"tokenizer_class": "PreTrainedTokenizerFast"}`,
		"special_tokens_map.json": `{"cls_token": "[CLS]"}`, "added_tokens.json": `{"<new>": 7}`}
	for name, data := range want {
		write(t, from, name, data)
	}
	tok, err := Load(from)
	require.NoError(t, err)
	for range 2 { // the second time over the first
		require.NoError(t, tok.Save(to))
		entries, err := os.ReadDir(to)
		require.NoError(t, err)
		assert.Len(t, entries, len(want))
		for name, data := range want {
			got, err := os.ReadFile(filepath.Join(to, name))
			require.NoError(t, err)
			assert.Equal(t, data, string(got))
		}
	}
	assert.Error(t, tok.Save(filepath.Join(to, "vocab.txt", "below a file")))
}
