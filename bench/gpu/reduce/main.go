// Command reduce makes a BERT small enough to travel with the GPU bundle: weights in bfloat16, and of the vocabulary only
// the word pieces that a file of texts is made of.
//
//	reduce MODEL TEXTS.tsv OUT
//
// MODEL and OUT are folders as transformers saves them; the texts are the first column, behind a header. WordPiece takes
// the longest piece that fits, so a piece that no text uses is never in the way of another, and leaving it out changes
// nothing for these texts. The command proves that: each text must give the same pieces with both vocabularies.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/thaw-ml/thaw/text/tokenizer"
	"github.com/thaw-ml/thaw/torch"
)

// wordEmbeddings is the only tensor with a row for each piece.
const wordEmbeddings = "embeddings.word_embeddings.weight"

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: reduce MODEL TEXTS.tsv OUT")
		os.Exit(2)
	}
	if err := reduce(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, "thaw: reducing the model:", err)
		os.Exit(1)
	}
}

func reduce(model, texts, out string) error {
	whole, err := tokenizer.Load(model)
	if err != nil {
		return err
	}
	lines, err := firstColumn(texts)
	if err != nil {
		return err
	}
	kept := piecesOf(whole, lines)
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	vocab := make([]string, len(kept))
	for i, id := range kept {
		vocab[i], _ = whole.Token(id)
	}
	// Without a tokenizer.json the folder is an uncased BERT's, as this one is: the comparison below would tell.
	if err := os.WriteFile(filepath.Join(out, "vocab.txt"), []byte(strings.Join(vocab, "\n")+"\n"), 0o644); err != nil {
		return err
	}
	reduced, err := tokenizer.Load(out)
	if err != nil {
		return err
	}
	for i, line := range lines {
		if want, got := pieces(whole, line), pieces(reduced, line); !slices.Equal(want, got) {
			return fmt.Errorf("%s:%d: the whole vocabulary gives %q, the reduced one %q", texts, i+2, want, got)
		}
	}
	if err := reduceConfig(filepath.Join(model, "config.json"), filepath.Join(out, "config.json"), reduced); err != nil {
		return err
	}
	if err := reduceWeights(filepath.Join(model, "model.safetensors"), filepath.Join(out, "model.safetensors"), kept); err != nil {
		return err
	}
	fmt.Printf("%d of %d word pieces kept; the same pieces for all %d texts\n", len(kept), whole.VocabSize(), len(lines))
	return nil
}

// firstColumn reads the texts.
func firstColumn(path string) (column []string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		text, _, _ := strings.Cut(lines.Text(), "\t")
		column = append(column, text)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(column) < 2 {
		return nil, fmt.Errorf("%s: there are no lines behind the header", path)
	}
	return column[1:], nil
}

// piecesOf gives the ids that the texts use, in order, with the special ones and, so that no other English text falls
// to pieces altogether, the letters.
func piecesOf(t *tokenizer.Tokenizer, texts []string) []int64 {
	used := map[int64]bool{}
	keep := func(token string) {
		if id, ok := t.ID(token); ok {
			used[id] = true
		}
	}
	for _, special := range []string{"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"} {
		keep(special)
	}
	for letter := 'a'; letter <= 'z'; letter++ {
		keep(string(letter))
		keep("##" + string(letter))
	}
	var ids []int64
	for _, text := range texts {
		ids = t.AppendIDs(ids[:0], text, 0)
		for _, id := range ids {
			used[id] = true
		}
	}
	return slices.Sorted(maps.Keys(used))
}

func pieces(t *tokenizer.Tokenizer, text string) []string {
	ids := t.AppendIDs(nil, text, 0)
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i], _ = t.Token(id)
	}
	return out
}

// reduceConfig copies config.json with the size of the new vocabulary.
func reduceConfig(from, to string, t *tokenizer.Tokenizer) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	var config map[string]any
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber() // as it is written
	if err := decoder.Decode(&config); err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return fmt.Errorf("%s: more than one JSON value", from)
	}
	config["vocab_size"] = t.VocabSize()
	config["pad_token_id"], _ = t.ID("[PAD]")
	if text, err = json.MarshalIndent(config, "", "  "); err != nil {
		return err
	}
	return os.WriteFile(to, append(text, '\n'), 0o644)
}

// reduceWeights writes the weights with the kept rows of the word embeddings. Matrices become bfloat16; vectors, which
// are few, stay as they are.
func reduceWeights(from, to string, kept []int64) (err error) {
	checkpoint, err := torch.OpenCheckpoint(from)
	if err != nil {
		return err
	}
	defer checkpoint.Close()
	failure := torch.Try(func() {
		torch.Scoped(func() {
			var state []torch.Named
			found := false
			for _, name := range checkpoint.Names() {
				var x torch.Tensor
				if x, err = checkpoint.Tensor(name); err != nil {
					return
				}
				if strings.HasSuffix(name, wordEmbeddings) {
					found = true
					x = x.IndexSelect(0, torch.FromSlice(kept))
				}
				if len(x.Shape()) > 1 && x.DType().IsFloat() {
					x = x.To(torch.BFloat16)
				}
				state = append(state, torch.Named{Name: name, Tensor: x})
			}
			if !found {
				err = fmt.Errorf("%s has no %s", from, wordEmbeddings)
				return
			}
			err = torch.SaveCheckpoint(to, state, map[string]string{"format": "pt"})
		})
	})
	if err != nil {
		return err
	}
	return failure
}
