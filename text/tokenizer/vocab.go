package tokenizer

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxCharsPerWord is the reference's default (tokenizers, models/wordpiece/mod.rs).
const maxCharsPerWord = 100

// continuingPrefix begins the tokens that continue a word, unless tokenizer.json says otherwise.
const continuingPrefix = "##"

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
