package tokenizer

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Load reads a tokenizer from a folder, a tokenizer.json or a vocab.txt.
//
// Of a folder it makes what transformers 5 makes of it. There, the tokenizer of a BERT takes the vocabulary and the
// added tokens from tokenizer.json (or else from vocab.txt and added_tokens.json), and all else, as lower case,
// accents, Chinese characters and the names of the special tokens, from tokenizer_config.json and
// special_tokens_map.json, or else as BERT's uncased models have it; with "tokenizer_class": "PreTrainedTokenizerFast"
// tokenizer.json says all. A tokenizer.json that differs from BERT's where tokenizer_config.json is silent is an error
// that names both.
//
// A tokenizer.json alone is taken as it is, as the tokenizers library does; a vocab.txt with the files beside it.
// Truncation and padding that tokenizer.json may name are not applied: they are the caller's, see [Options].
//
// A tokenizer of another kind than BERT's is refused with the file and the key that say so.
func Load(path string) (*Tokenizer, error) {
	t, err := load(path)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	return t, nil
}

func load(path string) (*Tokenizer, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		f, err := readFiles(path)
		if err != nil {
			return nil, err
		}
		if f.data[tokenizerFile] == nil && f.data[vocabFile] == nil {
			return nil, fmt.Errorf("%s: there is neither %s nor %s", path, tokenizerFile, vocabFile)
		}
		return f.tokenizer()
	}
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	if strings.EqualFold(filepath.Ext(path), ".json") {
		return fromJSON(path, data)
	}
	f, err := readFiles(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	delete(f.data, tokenizerFile)
	f.data[vocabFile], f.vocab = data, path
	return f.tokenizer()
}
