package tokenizer

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	otherClass = `and only BertTokenizer and PreTrainedTokenizerFast are supported`
	silent     = "as FOLDER/tokenizer_config.json does not say otherwise: set "
	missing    = "as FOLDER/tokenizer_config.json is not there to say otherwise: set "
	fastClass  = `tokenizer_class ("PreTrainedTokenizerFast" takes tokenizer.json as it is) there`
	ends       = "cls_token and sep_token there"
	oneText    = "[CLS]:0 A:0 [SEP]:0"
)

// refused are the folders that transformers reads, or fails at, and Load refuses, with what is said.
var refused = map[string]string{
	"vocab, no class":                 `FOLDER/vocab.txt: no line holds the token "[CLS]"`,
	"vocab, no unknown":               `FOLDER/vocab.txt: no line holds the token "[UNK]"`,
	"vocab, special tokens split":     `FOLDER/tokenizer_config.json: split_special_tokens is true, and only false is supported`,
	"vocab, class MPNet":              `FOLDER/tokenizer_config.json: tokenizer_class is "MPNetTokenizer", ` + otherClass,
	"vocab, class fast":               `FOLDER/tokenizer_config.json: tokenizer_class is "PreTrainedTokenizerFast", which is made of a tokenizer.json, and there is none`,
	"vocab, class that is none":       `FOLDER/tokenizer_config.json: tokenizer_class is "MyTokenizer", ` + otherClass,
	"vocab, class Japanese":           `FOLDER/tokenizer_config.json: tokenizer_class is "BertJapaneseTokenizer", ` + otherClass,
	"vocab, class RoBERTa":            `FOLDER/tokenizer_config.json: tokenizer_class is "RobertaTokenizer", ` + otherClass,
	"vocab, class in config.json":     `FOLDER/config.json: tokenizer_class is "RobertaTokenizer", ` + otherClass,
	"json, class that is none, cased": `FOLDER/tokenizer_config.json: tokenizer_class is "MyTokenizer", ` + otherClass,
	"json alone, cased":               "FOLDER/tokenizer.json: normalizer.lowercase is false, and transformers takes true, " + missing + "do_lower_case there",
	"json, cased, config silent":      "FOLDER/tokenizer.json: normalizer.lowercase is false, and transformers takes true, " + silent + "do_lower_case there",
	"json, accents kept":              "FOLDER/tokenizer.json: normalizer.strip_accents is false, and transformers takes true, " + missing + "strip_accents there",
	"json, Chinese kept":              "FOLDER/tokenizer.json: normalizer.handle_chinese_chars is false, and transformers takes true, " + silent + "tokenize_chinese_chars there",
	"json, text not cleaned":          "FOLDER/tokenizer.json: normalizer.clean_text is false, and transformers takes true, " + silent + fastClass,
	"json, no template":               "FOLDER/tokenizer.json: post_processor.single is A:0, and transformers takes " + oneText + ", " + silent + ends,
	"json, template without pair type": "FOLDER/tokenizer.json: post_processor.pair is " + oneText + " B:0 [SEP]:0, and transformers takes " +
		oneText + " B:1 [SEP]:1, " + silent + ends,
	"json, short words":                "FOLDER/tokenizer.json: model.max_input_chars_per_word is 3, and transformers takes 100, " + silent + fastClass,
	"json, another unknown":            "FOLDER/tokenizer.json: model.unk_token is usr, and transformers takes [UNK], " + silent + "unk_token there",
	"json, other names, config silent": "FOLDER/tokenizer.json: model.unk_token is usr, and transformers takes [UNK], " + silent + "unk_token there",
	"json, versioned":                  `FOLDER/tokenizer_config.json: fast_tokenizer_files names "tokenizer.4.0.0.json", and only tokenizer.json is read`,
	"json, special tokens split":       `FOLDER/tokenizer_config.json: split_special_tokens is true, and only false is supported`,
}

// TestFolders reads folders that say of a tokenizer in several files, as AutoTokenizer.from_pretrained does.
func TestFolders(t *testing.T) {
	var golden struct {
		Texts []string
		Pairs [][2]string
		Cases []struct {
			Name, Error  string
			Files        map[string]string
			Size         int
			IDs          [][]int64
			Pairs, Types [][]int64
		}
	}
	require.NoError(t, json.NewDecoder(bytes.NewReader(unzip("folders.json.gz"))).Decode(&golden))
	require.Greater(t, len(golden.Cases), 80)
	seen := 0
	rules := map[Normalizer]*ruleTable{} // which take most of the time of loading
	for _, c := range golden.Cases {
		t.Run(c.Name, func(t *testing.T) {
			folder := t.TempDir()
			for name, data := range c.Files {
				write(t, folder, name, data)
			}
			if want, ok := refused[c.Name]; ok {
				seen++
				_, err := Load(folder)
				require.Error(t, err)
				assert.Equal(t, "tokenizer: "+want, strings.ReplaceAll(err.Error(), folder, "FOLDER"))
				return
			}
			f, err := readFiles(folder)
			require.NoError(t, err)
			s, err := f.spec()
			require.NoError(t, err)
			if rules[s.normalizer] == nil {
				rules[s.normalizer] = newRules(s.normalizer)
			}
			tok, err := newTokenizer(s, rules[s.normalizer], f.data)
			require.NoError(t, err)
			if c.Error != "" { // only a token's form is read that transformers refuses
				assert.Equal(t, "vocab, names as bare objects", c.Name)
				return
			}
			assert.Equal(t, c.Size, tok.VocabSize())
			for i, text := range golden.Texts {
				e, err := tok.Encode(text, Options{})
				require.NoError(t, err)
				assert.Equal(t, c.IDs[i], e.IDs, "%q", text)
				assert.Equal(t, c.IDs[i], append([]int64{}, tok.AppendIDs(nil, text, 0)...), "%q", text)
			}
			for i, pair := range golden.Pairs {
				e, err := tok.EncodePair(pair[0], pair[1], Options{})
				require.NoError(t, err)
				assert.Equal(t, c.Pairs[i], e.IDs, "%q", pair)
				assert.Equal(t, c.Types[i], e.TypeIDs, "%q", pair)
			}
			again := t.TempDir()
			require.NoError(t, tok.Save(again))
			for name, data := range c.Files {
				if name == "config.json" {
					continue
				}
				saved, err := os.ReadFile(filepath.Join(again, name))
				require.NoError(t, err)
				assert.Equal(t, data, string(saved), name)
			}
		})
	}
	assert.Equal(t, len(refused), seen, "each of the refused is a case")
}

func TestFoldersThatAreRefused(t *testing.T) {
	for _, c := range []struct{ name, file, content, want string }{
		{"texts cut on the left", configFile, `{"truncation_side": "left"}`, "tokenizer_config.json: truncation_side is left, and only right is supported"},
		{"padding on the left", configFile, `{"padding_side": "left"}`, "tokenizer_config.json: padding_side is left, and only right is supported"},
		{"pointer for the config", configFile, "version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "tokenizer_config.json: this is a git-lfs pointer: fetch the file itself (git lfs pull)"},
		{"pointer for tokenizer.json", tokenizerFile, "version https://git-lfs.github.com/spec/v1\n", "tokenizer.json: this is a git-lfs pointer: fetch the file itself (git lfs pull)"},
		{"pointer for vocab.txt", vocabFile, "version https://git-lfs.github.com/spec/v1\n", "vocab.txt: this is a git-lfs pointer: fetch the file itself (git lfs pull)"},
		{"pointer for the map", specialFile, "version https://git-lfs.github.com/spec/v1\n", "special_tokens_map.json: this is a git-lfs pointer: fetch the file itself (git lfs pull)"},
		{"map that is no JSON", specialFile, "{\n]", "special_tokens_map.json:2: invalid character ']' looking for beginning of object key string"},
		{"added tokens of another form", addedFile, `["a"]`, "added_tokens.json:1: json: cannot unmarshal array into Go value of type map[string]int"},
		{"two tokens with one id", addedFile, `{"b": 12, "a": 12}`, `added_tokens.json: "a" and "b" have one id, 12`},
		{"id that is none", configFile, `{"added_tokens_decoder": {"x": {"content": "a"}}}`, `tokenizer_config.json: added_tokens_decoder: "x" is no id`},
		{"token that is a list", configFile, `{"extra_special_tokens": [1]}`, `tokenizer_config.json: extra_special_tokens: json: cannot unmarshal number into Go value of type string`},
		{"name that is a list", configFile, `{"user_token": {"content": 1}}`, `tokenizer_config.json: user_token: json: cannot unmarshal number into Go struct field object.content of type string`},
	} {
		t.Run(c.name, func(t *testing.T) {
			folder := t.TempDir()
			write(t, folder, vocabFile, smallVocab)
			write(t, folder, c.file, c.content)
			_, err := Load(folder)
			require.EqualError(t, err, "tokenizer: "+filepath.Join(folder, c.want))
		})
	}
	folder := t.TempDir()
	path := write(t, folder, tokenizerFile, strings.Replace(smallJSON, `"decoder"`, `"truncation": {"direction": "Left"}, "decoder"`, 1))
	_, err := Load(path)
	require.EqualError(t, err, "tokenizer: "+path+": truncation.direction: Left is not supported")
}

// A token that no file names is one as in transformers, behind all others.
func TestImpliedTokens(t *testing.T) {
	folder := t.TempDir()
	write(t, folder, vocabFile, "[UNK]\n[CLS]\n[SEP]\na\n")
	write(t, folder, configFile, `{"mask_token": null, "eos_token": "</s>", "model_max_length": 77}`)
	tok, err := Load(folder)
	require.NoError(t, err)
	assert.Equal(t, []string{"[PAD]"}, tok.Implied())
	assert.Equal(t, 6, tok.VocabSize())
	assert.Equal(t, []int64{1, 3, 5, 4, 2}, tok.AppendIDs(nil, "a [PAD]</s>", 0))
	assert.Equal(t, 77, tok.MaxLength())
	write(t, folder, configFile, `{"model_max_length": 1000000000000000019884624838656}`)
	tok, err = Load(folder)
	require.NoError(t, err)
	assert.Equal(t, 0, tok.MaxLength(), "none")
}
