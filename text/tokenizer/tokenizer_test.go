package tokenizer

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestManyGoroutines(t *testing.T) {
	tok := uncased(t)
	texts := lines()[:2000]
	want := make([][]int64, len(texts))
	for i, text := range texts {
		want[i] = tok.AppendIDs(nil, text, 32)
	}
	var wait sync.WaitGroup
	for g := range 8 {
		wait.Go(func() {
			var ids []int64
			for i := range texts {
				i = (i*7 + g*251) % len(texts)
				ids = tok.AppendIDs(ids[:0], texts[i], 32)
				if !slices.Equal(want[i], ids) {
					t.Errorf("line %d: %v, want %v", i, ids, want[i])
				}
				if e, err := tok.Encode(texts[i], Options{MaxLength: 32}); err != nil || !slices.Equal(want[i], e.IDs) {
					t.Errorf("line %d: %v, %v, want %v", i, e.IDs, err, want[i])
				}
			}
		})
	}
	wait.Wait()
}

// A million characters take about as long for each character as a short text does; what is
// quadratic anywhere would take minutes.
func TestMillionCharacters(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute under the race detector")
	}
	const n = 1_000_000
	toks := []*Tokenizer{uncased(t), configured(t, "cased"), configured(t, "raw"), withAdded(t)}
	for _, unit := range []string{"a", "un", "é", "e\u0301", "\u0301", "\U0001d165\u0323", "漢", "각", "!", " ", "[MASK]", "[", "\xff", "the ", "lone", "<left> ", " <right>"} {
		text := strings.Repeat(unit, n/len(unit))
		for i, tok := range toks {
			start := time.Now()
			e, err := tok.Encode(text, Options{})
			require.NoError(t, err)
			assert.Equal(t, e.IDs, tok.AppendIDs(nil, text, 0))
			tok.Decode(e.IDs)
			assert.Lessf(t, time.Since(start), 20*time.Second, "%q, tokenizer %d", unit, i)
		}
	}
	ids := toks[0].AppendIDs(nil, strings.Repeat("the ", n/4), 8)
	assert.Equal(t, []int64{101, 1996, 1996, 1996, 1996, 1996, 1996, 102}, ids)
}

// withAdded returns the tokenizer with added tokens of every kind.
func withAdded(t testing.TB) *Tokenizer {
	t.Helper()
	tok, err := fromJSON("added", fill(readGolden().Added[0].JSON))
	require.NoError(t, err)
	return tok
}

func TestMaxLengthWithoutRoom(t *testing.T) {
	tok := uncased(t)
	for _, length := range []int{-1, 1} {
		_, err := tok.Encode("text", Options{MaxLength: length})
		assert.ErrorContains(t, err, fmt.Sprintf("max length %d has no room for 2 special tokens", length))
	}
	_, err := tok.EncodePair("text", "text", Options{MaxLength: 2})
	assert.ErrorContains(t, err, "no room for 3 special tokens")
	assert.Equal(t, []int64{101, 102}, tok.AppendIDs(nil, "text", 1))
	assert.Equal(t, []int64{101, 102}, tok.AppendIDs(nil, "text", 2))
	assert.Equal(t, []int64{7, 101, 3793, 102}, tok.AppendIDs([]int64{7}, "text text", 3))
	_, err = tok.Encode("text text", Options{MaxLength: 3, Strategy: OnlySecond})
	assert.ErrorContains(t, err, "there is no second text")
}

func TestStrategyNames(t *testing.T) {
	assert.Equal(t, "longest_first only_first only_second Strategy(9)", fmt.Sprint(LongestFirst, OnlyFirst, OnlySecond, Strategy(9)))
}

// newRules takes a character whose decomposition begins with a removed mark of some class to be wholly removed.
func TestDecompositionsOfMarksAreMarks(t *testing.T) {
	cp := parseCodePoints()
	for r, d := range cp.decomposed {
		if cp.properties[d[0]]&isMark == 0 || cp.class[d[0]] == 0 {
			continue
		}
		for _, x := range d {
			assert.NotZerof(t, cp.properties[x]&isMark, "%U", r)
		}
	}
}

func TestTrie(t *testing.T) {
	entries := []trieEntry{{"", 9}, {"a", 0}, {"ab", 1}, {"abcde", 2}, {"\x00", 3}, {"\xff\x00", 4}, {"b", 5}}
	tests := []struct {
		text   string
		length int
		value  int32
	}{
		{"", 0, noValue}, {"a", 1, 0}, {"abcd", 2, 1}, {"abcdef", 5, 2}, {"c", 0, noValue},
		{"\x00\x00", 1, 3}, {"\xff", 0, noValue}, {"\xff\x00", 2, 4}, {"ba", 1, 5},
	}
	tr := newTrie(entries)
	for _, test := range tests {
		length, value := longest(tr, test.text, 0)
		assert.Equal(t, test.length, length, "%q", test.text)
		assert.Equal(t, test.value, value, "%q", test.text)
	}
	length, _ := longest(newTrie(nil), "\x00a", 0)
	assert.Zero(t, length)
	// Every byte as a child of one node, and all tokens of the real vocabulary.
	var all []trieEntry
	for i := range 256 {
		all = append(all, trieEntry{"x" + string([]byte{byte(i)}), int32(i)})
	}
	for token, id := range uncased(t).model.vocab {
		all = append(all, trieEntry{"y" + token, id})
	}
	tr = newTrie(all)
	for _, e := range all {
		length, value := longest(tr, e.key, 0)
		require.Equal(t, trieEntry{e.key[:length], value}, e)
	}
}
