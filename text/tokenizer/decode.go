package tokenizer

import "strings"

// decoder is the reference's WordPiece decoder.
type decoder struct {
	prefix  string // of tokens that continue a word
	cleanup bool   // undo the spaces that tokenization puts around punctuation
	spaces  bool   // only put a space between tokens: the file names no decoder
}

// cleanups are applied in this order to each token (tokenizers, decoders/wordpiece.rs).
var cleanups = [][2]string{
	{" .", "."}, {" ?", "?"}, {" !", "!"}, {" ,", ","}, {" ' ", "'"}, {" n't", "n't"},
	{" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"},
}

// Decode makes text of ids, without the special tokens. Ids that no token has are passed over.
func (t *Tokenizer) Decode(ids []int64) string { return t.decode(ids, false) }

// DecodeAll is Decode with the special tokens.
func (t *Tokenizer) DecodeAll(ids []int64) string { return t.decode(ids, true) }

func (t *Tokenizer) decode(ids []int64, special bool) string {
	var out strings.Builder
	first := true
	for _, id := range ids {
		token, ok := t.Token(id)
		if !ok || !special && t.special[token] {
			continue
		}
		out.WriteString(t.decoder.text(token, first))
		first = false
	}
	return out.String()
}

func (d decoder) text(token string, first bool) string {
	if !first {
		tail, continues := strings.CutPrefix(token, d.prefix)
		if continues && !d.spaces {
			token = tail
		} else {
			token = " " + token
		}
	}
	if d.cleanup {
		for _, c := range cleanups {
			token = strings.ReplaceAll(token, c[0], c[1])
		}
	}
	return token
}
