package tokenizer

import (
	"strings"
	"testing"
)

// lines returns the texts of both files.
func lines() []string {
	return append(strings.Split(string(unzip("reviews.txt.gz")), "\n"), strings.Split(string(unzip("tweets.txt.gz")), "\n")...)
}

// BenchmarkAppendIDs tokenizes all lines of both text files. testdata/bench.py runs it and
// BenchmarkEncode beside the reference.
func BenchmarkAppendIDs(b *testing.B) {
	tok, texts := uncased(b), lines()
	var ids []int64
	tokens := 0
	for b.Loop() {
		tokens = 0
		for _, text := range texts {
			ids = tok.AppendIDs(ids[:0], text, 0)
			tokens += len(ids)
		}
	}
	b.ReportMetric(float64(tokens), "tokens")
}

// BenchmarkEncode is BenchmarkAppendIDs with offsets.
func BenchmarkEncode(b *testing.B) {
	tok, texts := uncased(b), lines()
	for b.Loop() {
		for _, text := range texts {
			if _, err := tok.Encode(text, Options{}); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkLoad(b *testing.B) {
	data := fill(readGolden().Configs["uncased"])
	for b.Loop() {
		if _, err := fromJSON("tokenizer.json", data); err != nil {
			b.Fatal(err)
		}
	}
}
