// Package tokenizer turns text into the token ids that BERT-family models were trained on.
//
// It is a pure Go form of the part of Hugging Face's tokenizers library that BERT needs: the BERT
// normalizer and pre-tokenizer, WordPiece, added tokens, templates of special tokens, truncation
// and the WordPiece decoder. Its ids and offsets are the reference's own, checked on real text, on
// hard Unicode and on every code point (testdata/generate.py makes the goldens).
//
// A [Tokenizer] does not change after [Load] and serves any number of goroutines.
package tokenizer
