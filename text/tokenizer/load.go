package tokenizer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Names of the files that a checkpoint's folder has.
const (
	tokenizerFile = "tokenizer.json"
	vocabFile     = "vocab.txt"
	configFile    = "tokenizer_config.json"
)

// Load reads a tokenizer from a folder, a tokenizer.json or a vocab.txt. In a folder tokenizer.json
// comes first and says all; vocab.txt is completed by the tokenizer_config.json beside it (lower
// case, accents, Chinese characters, names of the special tokens), if there is one, and is taken as
// uncased otherwise. Truncation and padding that tokenizer.json may name are not applied: they
// are the caller's, see [Options].
//
// A tokenizer.json of another kind than BERT's is refused with the key that says so.
func Load(path string) (*Tokenizer, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	if info.IsDir() {
		t, err := loadFolder(path)
		if err != nil {
			return nil, fmt.Errorf("tokenizer: %w", err)
		}
		return t, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	var t *Tokenizer
	if strings.EqualFold(filepath.Ext(path), ".json") {
		t, err = fromJSON(path, data)
	} else {
		t, err = loadVocab(path, data)
	}
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	return t, nil
}

func loadFolder(folder string) (*Tokenizer, error) {
	path := filepath.Join(folder, tokenizerFile)
	data, err := os.ReadFile(path)
	if err == nil {
		t, err := fromJSON(path, data)
		if err != nil {
			return nil, err
		}
		// What else describes the tokenizer goes along when it is saved.
		for _, name := range []string{vocabFile, configFile} {
			other, err := os.ReadFile(filepath.Join(folder, name))
			if err == nil {
				t.files[name] = other
			} else if !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
		}
		return t, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	path = filepath.Join(folder, vocabFile)
	data, err = os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: there is neither %s nor %s", folder, tokenizerFile, vocabFile)
	}
	if err != nil {
		return nil, err
	}
	return loadVocab(path, data)
}

// loadVocab makes a tokenizer of a vocab.txt and the tokenizer_config.json beside it, if any.
func loadVocab(path string, vocab []byte) (*Tokenizer, error) {
	configPath := filepath.Join(filepath.Dir(path), configFile)
	config, err := os.ReadFile(configPath)
	if errors.Is(err, fs.ErrNotExist) {
		return fromVocab(path, vocab, configPath, nil)
	}
	if err != nil {
		return nil, err
	}
	return fromVocab(path, vocab, configPath, config)
}
