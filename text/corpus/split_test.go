package corpus

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func numbers(t *Table) []int {
	n := []int{}
	for _, r := range t.Rows {
		n = append(n, len(r.Text)-1) // see labelled
	}
	return n
}

func TestSplitEvery(t *testing.T) {
	table := labelled(strings.Split(strings.Repeat("a", 25), "")...)
	train, test, err := table.Split("every 10", 0)
	require.NoError(t, err)
	require.Equal(t, []int{0, 10, 20}, numbers(test))
	require.Equal(t, []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 16, 17, 18, 19, 21, 22, 23, 24}, numbers(train))
}

func TestSplitNothing(t *testing.T) {
	train, test, err := labelled("a", "b").Split("", 0)
	require.NoError(t, err)
	require.Equal(t, []int{0, 1}, numbers(train))
	require.Empty(t, test.Rows)
}

func TestSplitShare(t *testing.T) {
	// 60 of a, 30 of b, 10 of c, mixed.
	var labels []string
	for i := range 100 {
		labels = append(labels, []string{"a", "b", "a", "c", "a", "b", "a", "a", "b", "a"}[i%10])
	}
	table := labelled(labels...)
	train, test, err := table.Split("0.1", 1)
	require.NoError(t, err)
	require.Len(t, test.Rows, 10)
	require.Len(t, train.Rows, 90)
	count := map[string]int{}
	for _, r := range test.Rows {
		count[r.Label]++
	}
	require.Equal(t, map[string]int{"a": 6, "b": 3, "c": 1}, count)
	require.True(t, slices.IsSorted(numbers(test)) && slices.IsSorted(numbers(train)))
	all := append(numbers(train), numbers(test)...)
	slices.Sort(all)
	require.Len(t, slices.Compact(all), 100)

	// The same seed draws the same rows, on every machine and in every version.
	require.Equal(t, []int{6, 27, 28, 39, 43, 55, 62, 68, 72, 82}, numbers(test))
	_, other, err := table.Split("0.1", 2)
	require.NoError(t, err)
	require.NotEqual(t, numbers(test), numbers(other))
}

func TestSplitShareOfOddClasses(t *testing.T) {
	for _, c := range []struct {
		name, labels, share string
		test                map[string]int
	}{
		{"a class of one stays", "aaaaaaaaab", "0.5", map[string]int{"a": 5}},
		{"largest remainder", "aaaabbbbb", "0.3", map[string]int{"a": 1, "b": 2}},
		{"no labels", "----------", "0.25", map[string]int{"": 3}},
		{"nearly all", "aaaabbbb", "0.99", map[string]int{"a": 3, "b": 3}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, test, err := labelled(strings.Split(strings.ReplaceAll(c.labels, "-", " "), "")...).trimmed().Split(c.share, 3)
			require.NoError(t, err)
			count := map[string]int{}
			for _, r := range test.Rows {
				count[r.Label]++
			}
			require.Equal(t, c.test, count)
		})
	}
}

// trimmed makes labels of spaces empty.
func (t *Table) trimmed() *Table {
	for i := range t.Rows {
		t.Rows[i].Label = strings.TrimSpace(t.Rows[i].Label)
	}
	return t
}

func TestSplitRefuses(t *testing.T) {
	for test, want := range map[string]string{
		"1.5":      `split "1.5": expected a share between 0 and 1, such as "0.1", or a step, such as "every 10"`,
		"0":        `split "0": expected a share between 0 and 1, such as "0.1", or a step, such as "every 10"`,
		"NaN":      `split "NaN": expected a share between 0 and 1, such as "0.1", or a step, such as "every 10"`,
		"ten":      `split "ten": expected a share between 0 and 1, such as "0.1", or a step, such as "every 10"`,
		"every 1":  `split "every 1": "1" is not a whole number from 2 up`,
		"every -3": `split "every -3": "-3" is not a whole number from 2 up`,
		"every":    `split "every": expected a share between 0 and 1, such as "0.1", or a step, such as "every 10"`,
		"0.1":      `split "0.1": of the 3 rows of a.csv it puts 3 into training and 0 into the test`,
	} {
		_, _, err := labelled("a", "b", "a").Split(test, 0)
		require.EqualError(t, err, want)
	}
	_, _, err := labelled("a").Split("every 2", 0)
	require.EqualError(t, err, `split "every 2": of the 1 rows of a.csv it puts 0 into training and 1 into the test`)
}
