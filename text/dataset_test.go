package text_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/text"
	"github.com/thaw-ml/thaw/text/corpus"
	"github.com/thaw-ml/thaw/text/tokenizer"
)

// Ids of testdata/tiny/vocab.txt.
const (
	pad, unk, cls, sep = 0, 1, 2, 3
	a, b, c            = 5, 6, 7
)

func table(t testing.TB, name, content string, columns corpus.Columns) *corpus.Table {
	t.Helper()
	table, err := corpus.Read(name, strings.NewReader(content), columns)
	require.NoError(t, err)
	return table
}

func tinyTokenizer(t testing.TB) *tokenizer.Tokenizer {
	t.Helper()
	tok, err := tokenizer.Load("testdata/tiny")
	require.NoError(t, err)
	return tok
}

// base is BERT's configuration with another token for padding.
func base(pad int) text.Config {
	c := text.BertBase()
	c.PadTokenID = pad
	return c
}

func TestDataset(t *testing.T) {
	rows := table(t, "x.tsv", "t\tl\na b c\ty\na\tx\n\ty\n日 a\tx\n", corpus.Columns{Text: "t", Label: "l"})
	d, err := text.NewDataset(rows, tinyTokenizer(t), []string{"x", "y"}, 16, base(42))
	require.NoError(t, err)
	assert.Equal(t, 4, d.Len())
	assert.Equal(t, []string{"x", "y"}, d.Classes())
	assert.Equal(t, []int{5, 3, 2, 4}, []int{d.Length(0), d.Length(1), d.Length(2), d.Length(3)})
	for _, want := range []*text.Batch{
		{Index: []int{0}, Length: []int{5}, Class: []int{1}, T: 5, IDs: []int64{cls, a, b, c, sep}},
		{Index: []int{2}, Length: []int{2}, Class: []int{1}, T: 2, IDs: []int64{cls, sep}},
		{Index: []int{3, 0, 2, 1}, Length: []int{4, 5, 2, 3}, Class: []int{0, 1, 1, 0}, T: 5, IDs: []int64{
			cls, unk, a, sep, 42,
			cls, a, b, c, sep,
			cls, sep, 42, 42, 42,
			cls, a, sep, 42, 42,
		}},
		{Index: []int{1, 1}, Length: []int{3, 3}, Class: []int{0, 0}, T: 3, IDs: []int64{cls, a, sep, cls, a, sep}},
	} {
		got, err := d.Batch(finetune.Request{Indices: want.Index})
		require.NoError(t, err)
		assert.Equal(t, want, got)
		assert.Equal(t, len(want.Index), got.Size())
		assert.Equal(t, want.Length, got.Lengths())
		assert.Equal(t, want.Index, got.Indices())
		assert.Equal(t, want.Class, got.Labels())
	}
}

func TestDatasetOfPairs(t *testing.T) {
	rows := table(t, "x.jsonl", `{"s": "a b", "p": "c", "l": 1}`+"\n"+`{"s": "a b c a b c", "p": "b b b b", "l": 0}`+"\n"+`{"s": "", "p": null, "l": 0}`+"\n",
		corpus.Columns{Text: "s", Pair: "p", Label: "l"})
	d, err := text.NewDataset(rows, tinyTokenizer(t), []string{"0", "1"}, 9, base(pad))
	require.NoError(t, err)
	got, err := d.Batch(finetune.Request{Indices: []int{0, 1, 2}})
	require.NoError(t, err)
	assert.Equal(t, &text.Batch{Index: []int{0, 1, 2}, Length: []int{6, 9, 3}, Class: []int{1, 0, 0}, T: 9,
		IDs: []int64{
			cls, a, b, sep, c, sep, pad, pad, pad,
			cls, a, b, c, sep, b, b, b, sep,
			cls, sep, sep, pad, pad, pad, pad, pad, pad,
		},
		Types: []int64{
			0, 0, 0, 0, 1, 1, 0, 0, 0,
			0, 0, 0, 0, 0, 1, 1, 1, 1,
			0, 0, 1, 0, 0, 0, 0, 0, 0,
		}}, got)
	assert.Equal(t, 1, d.Truncated())
	_, err = text.NewDataset(rows, tinyTokenizer(t), nil, 2, base(pad))
	require.EqualError(t, err, "x.jsonl:1: tokenizer: max length 2 has no room for 3 special tokens")
}

func TestMaxLength(t *testing.T) {
	rows := table(t, "x.tsv", "t\na b c\na b\na\n"+strings.Repeat("b", 1_000_000)+"\n"+strings.Repeat("b ", 500_000)+"\n", corpus.Columns{Text: "t"})
	d, err := text.NewDataset(rows, tinyTokenizer(t), nil, 4, base(pad))
	require.NoError(t, err)
	got, err := d.Batch(finetune.Request{Indices: []int{0, 1, 2, 3, 4}})
	require.NoError(t, err)
	assert.Equal(t, []int{4, 4, 3, 3, 4}, got.Length, "a word of a million characters is one unknown token")
	assert.Equal(t, []int64{cls, a, b, sep, cls, a, b, sep, cls, a, sep, pad, cls, unk, sep, pad, cls, b, b, sep}, got.IDs)
	assert.Equal(t, 2, d.Truncated(), "the first and the last; a text of just four tokens is whole")
	assert.Nil(t, got.Class, "labels are not read without classes")
}

func TestLabelsThatAreNoClass(t *testing.T) {
	for _, c := range []struct{ name, file, want string }{
		{"data/reviews.tsv", "t\tl\na\tgood\n\nb\tgod\n",
			`data/reviews.tsv:4: the label "god" is not a class; the classes are "bad", "good"; did you mean "good"?`},
		{"x.csv", "t,l\n\"a\nb\",good\nc,neutral\n",
			`x.csv:4: the label "neutral" is not a class; the classes are "bad", "good"`},
		{"x.jsonl", `{"t": "a", "l": "Good"}` + "\n",
			`x.jsonl:1: the label "Good" is not a class; the classes are "bad", "good"; did you mean "good"?`},
	} {
		rows := table(t, c.name, c.file, corpus.Columns{Text: "t", Label: "l"})
		_, err := text.NewDataset(rows, tinyTokenizer(t), twoClasses.Classes, 8, base(pad))
		require.EqualError(t, err, c.want)
	}
}

// What the model cannot read is an error before anything is trained.
func TestDatasetAgainstTheModel(t *testing.T) {
	pairs := table(t, "x.tsv", "t\tp\na\tb\n", corpus.Columns{Text: "t", Pair: "p"})
	single := table(t, "x.tsv", "t\na\nb [MASK]\n", corpus.Columns{Text: "t"})
	onesegment, err := text.ReadConfig("testdata/configs/config-onesegment.json")
	require.NoError(t, err)
	short, err := text.ReadConfig("testdata/configs/config-short.json")
	require.NoError(t, err)
	small := base(pad)
	small.VocabSize = 4
	for _, c := range []struct {
		table     *corpus.Table
		maxLength int
		config    text.Config
		want      string
	}{
		{pairs, 16, onesegment, "tokenising x.tsv: the model has 1 segment (type_vocab_size), and pairs of texts take 2"},
		{single, 33, short, "tokenising x.tsv: 33 is more than the 32 positions of the model"},
		{single, -1, short, "tokenising x.tsv: -1 tokens are too few"},
		{pairs, 65, onesegment, "tokenising x.tsv: the model has 1 segment (type_vocab_size), and pairs of texts take 2\n65 is more than the 64 positions of the model"},
		{single, 16, small, `x.tsv:2: the token "a" has the id 5, and the model's vocab_size is 4`},
	} {
		_, err := text.NewDataset(c.table, tinyTokenizer(t), nil, c.maxLength, c.config)
		require.EqualError(t, err, c.want)
		if c.config.VocabSize > 4 {
			require.ErrorContains(t, c.config.CheckTexts(c.table == pairs, c.maxLength), c.want[len("tokenising x.tsv: "):])
		}
	}
	assert.Equal(t, []int{32, 128}, []int{short.DefaultMaxLength(), text.BertBase().DefaultMaxLength()})
	long := table(t, "x.tsv", "t\n"+strings.Repeat("a ", 40)+"\n", corpus.Columns{Text: "t"})
	d, err := text.NewDataset(long, tinyTokenizer(t), nil, 0, short)
	require.NoError(t, err)
	assert.Equal(t, []int{32, 1}, []int{d.Length(0), d.Truncated()})
}
