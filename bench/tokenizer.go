package main

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/thaw-ml/thaw/text/tokenizer"
)

// passes is how often a round goes over all texts.
const passes = 3

// readTexts gives the third column of files of tab-separated rows that end in CRLF; a few are not UTF-8.
func readTexts(paths ...string) ([]string, error) {
	var texts []string
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		for i, row := range strings.Split(strings.TrimSuffix(string(data), "\r\n"), "\r\n") {
			columns := strings.Split(row, "\t")
			if len(columns) < 3 {
				return nil, fmt.Errorf("%s:%d: %d columns, want 3", path, i+1, len(columns))
			}
			texts = append(texts, columns[2])
		}
	}
	return texts, nil
}

// runTokenizer times AppendIDs over both files of texts beside the reference, Hugging Face's tokenizers, both serially.
// It makes sure first that they give the same ids.
func runTokenizer(o options) error {
	if err := need(modelFolder, reviewsFile, tweetsFile); err != nil {
		return err
	}
	tok, err := tokenizer.Load(modelFolder)
	if err != nil {
		return err
	}
	texts, err := readTexts(reviewsFile, tweetsFile)
	if err != nil {
		return err
	}
	p, err := startPeer("tokenizer.py", modelFolder+"/tokenizer.json", reviewsFile, tweetsFile)
	if err != nil {
		return err
	}
	defer p.close()
	tokens, err := sameIDs(tok, texts, p)
	if err != nil {
		return err
	}
	r, err := newReport("tokenizer", 1)
	if err != nil {
		return err
	}

	var ids []int64
	thaw := func() (float64, error) {
		start := time.Now()
		for range passes {
			for _, text := range texts {
				ids = tok.AppendIDs(ids[:0], text, 0)
			}
		}
		return float64(time.Since(start).Microseconds()) / 1000 / passes, nil
	}
	var trials []trial
	for _, t := range [][2]string{{"encode", "encode, text by text"}, {"encode_batch_fast", "encode_batch_fast, without offsets"}} {
		trials = append(trials, trial{
			name: "AppendIDs", peerName: t[1], unit: "ms", thaw: thaw,
			peer: func() (float64, error) {
				a, err := p.ask(t[0], passes)
				return a.Nanoseconds / 1e6 / passes, err
			},
		})
	}
	if r.Comparisons, err = compare(cmp.Or(o.rounds, 7), 1, trials); err != nil {
		return err
	}
	r.Details = map[string]int{"texts": len(texts), "tokens": tokens, "passes_a_round": passes}
	return r.finish(o.results)
}

// sameIDs compares the ids of all texts with the reference's and gives their number.
func sameIDs(tok *tokenizer.Tokenizer, texts []string, p *peer) (int, error) {
	var ids []int64
	for _, text := range texts {
		ids = tok.AppendIDs(ids, text, 0)
	}
	h := sha256.New()
	if err := binary.Write(h, binary.LittleEndian, ids); err != nil {
		return 0, err
	}
	a, err := p.ask("ids")
	if err != nil {
		return 0, err
	}
	if sum := hex.EncodeToString(h.Sum(nil)); sum != a.SHA256 {
		return 0, fmt.Errorf("the ids are not the reference's (%d tokens here, %d there): nothing was timed", len(ids), a.Tokens)
	}
	return len(ids), nil
}
