package data

import (
	"errors"
	"iter"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSliceReadsAnItemWhenItIsNeeded(t *testing.T) {
	broken := errors.New("no number")
	reads := map[string]int{}
	source := Slice([]string{"7", "x", "9"}, func(text string) (int, error) {
		reads[text]++
		n, err := strconv.Atoi(text)
		if err != nil {
			return 0, broken
		}
		return n, nil
	})
	assert.Equal(t, 3, source.Len())
	assert.Empty(t, reads, "nothing is read before it is asked for")
	for range 2 {
		n, err := source.At(2)
		require.NoError(t, err)
		assert.Equal(t, 9, n)
	}
	_, err := source.At(1)
	assert.ErrorIs(t, err, broken)
	assert.Equal(t, map[string]int{"x": 1, "9": 2}, reads, "each time anew")
	assert.Zero(t, Slice(nil, strconv.Atoi).Len())
}

func TestCollect(t *testing.T) {
	broken := errors.New("row 3 is broken")
	taken := 0
	upTo := func(n int, last error) iter.Seq2[string, error] {
		return func(yield func(string, error) bool) {
			for i := range n {
				taken++
				if !yield(strconv.Itoa(i), nil) {
					return
				}
			}
			if last != nil && !yield("", last) {
				return
			}
			taken++
		}
	}
	items, err := Collect(upTo(3, nil))
	require.NoError(t, err)
	assert.Equal(t, Items[string]{"0", "1", "2"}, items)
	var source Source[string] = items
	assert.Equal(t, 3, source.Len())
	second, err := source.At(1)
	require.NoError(t, err)
	assert.Equal(t, "1", second)

	taken = 0
	items, err = Collect(upTo(3, broken))
	assert.ErrorIs(t, err, broken)
	assert.Nil(t, items)
	assert.Equal(t, 3, taken, "nothing is asked for after the error")

	items, err = Collect(upTo(0, nil))
	require.NoError(t, err)
	assert.Zero(t, items.Len())
}
