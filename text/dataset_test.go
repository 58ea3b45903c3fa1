package text_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune/train/objective"
	"github.com/thaw-ml/thaw/text"
	"github.com/thaw-ml/thaw/text/tokenizer"
	"github.com/thaw-ml/thaw/torch/data"
)

// Ids of testdata/tiny/vocab.txt.
const (
	pad, unk, cls, sep = 0, 1, 2, 3
	a, b, c            = 5, 6, 7
)

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

// dataset tokenises items for a model.
func dataset(t testing.TB, items []text.Item, config text.Config, o text.DatasetOptions) (*text.Dataset, error) {
	t.Helper()
	return text.NewDataset(data.Items[text.Item](items), tinyTokenizer(t), config, o)
}

var unlabelled = text.DatasetOptions{Unlabelled: true}

func TestDataset(t *testing.T) {
	items := []text.Item{{Text: "a b c", Class: 1}, {Text: "a"}, {Class: 1}, {Text: "日 a"}}
	d, err := dataset(t, items, base(42).WithHead(text.NewHead("x", "y")), text.DatasetOptions{MaxLength: 16})
	require.NoError(t, err)
	assert.Equal(t, 4, d.Len())
	assert.Equal(t, objective.Targets{Classes: []int{1, 0, 1, 0}}, d.Targets())
	assert.Equal(t, []int{5, 3, 2, 4}, []int{d.Length(0), d.Length(1), d.Length(2), d.Length(3)})
	of := func(classes ...int) objective.Targets { return objective.Targets{Classes: classes} }
	for _, want := range []*text.Batch{
		{Index: []int{0}, Length: []int{5}, Target: of(1), T: 5, IDs: []int64{cls, a, b, c, sep}},
		{Index: []int{2}, Length: []int{2}, Target: of(1), T: 2, IDs: []int64{cls, sep}},
		{Index: []int{3, 0, 2, 1}, Length: []int{4, 5, 2, 3}, Target: of(0, 1, 1, 0), T: 5, IDs: []int64{
			cls, unk, a, sep, 42,
			cls, a, b, c, sep,
			cls, sep, 42, 42, 42,
			cls, a, sep, 42, 42,
		}},
		{Index: []int{1, 1}, Length: []int{3, 3}, Target: of(0, 0), T: 3, IDs: []int64{cls, a, sep, cls, a, sep}},
	} {
		got, err := d.Batch(data.Request{Indices: want.Index})
		require.NoError(t, err)
		assert.Equal(t, want, got)
		assert.Equal(t, len(want.Index), got.Size())
		assert.Equal(t, want.Length, got.Lengths())
		assert.Equal(t, want.Index, got.Indices())
	}
}

// What the texts are is told apart from how they are read.
func TestHashes(t *testing.T) {
	config := base(42).WithHead(text.NewHead("x", "y"))
	made := func(o text.DatasetOptions, items ...text.Item) *text.Dataset {
		d, err := dataset(t, items, config, o)
		require.NoError(t, err)
		return d
	}
	d := made(text.DatasetOptions{MaxLength: 16}, text.Item{Text: "a b c"}, text.Item{Text: "a", Class: 1})
	assert.Regexp(t, "^2 texts, "+d.ContentHash()+", tokens [0-9a-f]{16}$", d.Fingerprint())
	shorter := made(text.DatasetOptions{MaxLength: 3}, text.Item{Text: "a b c"}, text.Item{Text: "a", Class: 1})
	assert.Equal(t, d.ContentHash(), shorter.ContentHash())
	assert.NotEqual(t, d.Fingerprint(), shorter.Fingerprint())
	for _, other := range [][]text.Item{
		{{Text: "a b c", Class: 1}, {Text: "a", Class: 1}}, {{Text: "a b ca"}, {Class: 1}}, {{Text: "a b d"}, {Text: "a", Class: 1}}, {{Text: "a", Class: 1}, {Text: "a b c"}},
	} {
		assert.NotEqual(t, d.ContentHash(), made(text.DatasetOptions{MaxLength: 16}, other...).ContentHash())
	}
	assert.Empty(t, made(unlabelled, text.Item{Text: "a"}).ContentHash())
}

func TestDatasetOfPairs(t *testing.T) {
	items := []text.Item{{Text: "a b", Pair: "c", Class: 1}, {Text: "a b c a b c", Pair: "b b b b"}, {Pair: "a"}}
	config := base(pad).WithHead(text.NewHead("0", "1"))
	d, err := dataset(t, items, config, text.DatasetOptions{MaxLength: 9})
	require.NoError(t, err)
	got, err := d.Batch(data.Request{Indices: []int{0, 1, 2}})
	require.NoError(t, err)
	assert.Equal(t, &text.Batch{Index: []int{0, 1, 2}, Length: []int{6, 9, 4}, Target: objective.Targets{Classes: []int{1, 0, 0}}, T: 9,
		IDs: []int64{
			cls, a, b, sep, c, sep, pad, pad, pad,
			cls, a, b, c, sep, b, b, b, sep,
			cls, sep, a, sep, pad, pad, pad, pad, pad,
		},
		Types: []int64{
			0, 0, 0, 0, 1, 1, 0, 0, 0,
			0, 0, 0, 0, 0, 1, 1, 1, 1,
			0, 0, 1, 1, 0, 0, 0, 0, 0,
		}}, got)
	assert.Equal(t, 1, d.Truncated())
	items[0].Origin = "x.jsonl:1"
	_, err = dataset(t, items, config, text.DatasetOptions{MaxLength: 2})
	require.EqualError(t, err, "x.jsonl:1: tokenizer: max length 2 has no room for 3 special tokens")
}

func TestMaxLength(t *testing.T) {
	items := text.Items("a b c", "a b", "a", strings.Repeat("b", 1_000_000), strings.Repeat("b ", 500_000))
	d, err := dataset(t, items, base(pad), text.DatasetOptions{MaxLength: 4, Unlabelled: true})
	require.NoError(t, err)
	got, err := d.Batch(data.Request{Indices: []int{0, 1, 2, 3, 4}})
	require.NoError(t, err)
	assert.Equal(t, []int{4, 4, 3, 3, 4}, got.Length, "a word of a million characters is one unknown token")
	assert.Equal(t, []int64{cls, a, b, sep, cls, a, b, sep, cls, a, sep, pad, cls, unk, sep, pad, cls, b, b, sep}, got.IDs)
	assert.Equal(t, 2, d.Truncated(), "the first and the last; a text of just four tokens is whole")
	assert.Equal(t, objective.Targets{}, got.Target, "of unlabelled texts")
}

// What an item should give that the head does not have is an error that names the item.
func TestTargetsThatTheHeadDoesNotHave(t *testing.T) {
	for _, c := range []struct {
		item text.Item
		head text.Head
		want string
	}{
		{text.Item{Text: "a", Class: 2, Origin: "data/reviews.tsv:4"}, twoClasses, "data/reviews.tsv:4: there is no class 2: the classes are 0 to 1"},
		{text.Item{Text: "a", Class: -1}, twoClasses, `"a": there is no class -1: the classes are 0 to 1`},
		{text.Item{Text: "a", Labels: []int{0, 3}}, text.Head{Classes: classes(3), Problem: text.MultiLabel}, `"a": there is no label 3: the labels are 0 to 2`},
	} {
		_, err := dataset(t, []text.Item{{Text: "b"}, c.item}, base(pad).WithHead(c.head), text.DatasetOptions{})
		require.EqualError(t, err, c.want)
	}
	d, err := dataset(t, []text.Item{{Text: "a", Labels: []int{2, 0}}, {Text: "b"}},
		base(pad).WithHead(text.Head{Classes: classes(3), Problem: text.MultiLabel}), text.DatasetOptions{})
	require.NoError(t, err)
	assert.Equal(t, objective.Targets{Labels: [][]int{{2, 0}, nil}, Width: 3}, d.Targets())
	d, err = dataset(t, []text.Item{{Text: "a", Value: 2.5}, {Text: "b"}}, base(pad).WithHead(text.Head{Problem: text.Regression}), text.DatasetOptions{})
	require.NoError(t, err)
	assert.Equal(t, objective.Targets{Values: []float64{2.5, 0}}, d.Targets())
}

// lost is a source whose second item cannot be read.
type lost struct{ err error }

func (lost) Len() int { return 3 }
func (l lost) At(i int) (text.Item, error) {
	if i == 1 {
		return text.Item{}, l.err
	}
	return text.Item{Text: "a"}, nil
}

func TestSourceThatFails(t *testing.T) {
	gone := errors.New("the database is gone")
	_, err := text.NewDataset(lost{gone}, tinyTokenizer(t), base(pad), unlabelled)
	require.ErrorIs(t, err, gone)
	require.EqualError(t, err, "reading text 1: the database is gone")
}

// What the model cannot read is an error before anything is trained.
func TestDatasetAgainstTheModel(t *testing.T) {
	pairs := []text.Item{{Text: "a", Pair: "b"}}
	single := []text.Item{{Text: "a", Origin: "x.tsv:2"}, {Text: "b [MASK]", Origin: "x.tsv:3"}}
	onesegment, err := text.ReadConfig("testdata/configs/config-onesegment.json")
	require.NoError(t, err)
	short, err := text.ReadConfig("testdata/configs/config-short.json")
	require.NoError(t, err)
	small := base(pad)
	small.VocabSize = 4
	for _, c := range []struct {
		items     []text.Item
		maxLength int
		config    text.Config
		want      string
	}{
		{pairs, 16, onesegment, "tokenising texts: the model has 1 segment (type_vocab_size), and pairs of texts take 2"},
		{single, 33, short, "tokenising texts: 33 is more than the 32 positions of the model"},
		{single, -1, short, "tokenising texts: -1 tokens are too few"},
		{pairs, 65, onesegment, "tokenising texts: the model has 1 segment (type_vocab_size), and pairs of texts take 2\n65 is more than the 64 positions of the model"},
		{single, 16, small, `x.tsv:2: the token "a" has the id 5, and the model's vocab_size is 4`},
	} {
		_, err := dataset(t, c.items, c.config, text.DatasetOptions{MaxLength: c.maxLength, Unlabelled: true})
		require.EqualError(t, err, c.want)
		if c.config.VocabSize > 4 {
			require.EqualError(t, c.config.CheckTexts(c.items[0].Pair != "", c.maxLength), c.want[len("tokenising texts: "):])
		}
	}
	assert.Equal(t, []int{32, 128}, []int{short.DefaultMaxLength(), text.BertBase().DefaultMaxLength()})
	d, err := dataset(t, text.Items(strings.Repeat("a ", 40)), short, unlabelled)
	require.NoError(t, err)
	assert.Equal(t, []int{32, 1}, []int{d.Length(0), d.Truncated()})
}
