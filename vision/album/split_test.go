package album

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// numbered is an album of as many pictures of each class as counts says, class after class. Their at is their number.
func numbered(counts ...int) *Album {
	a := &Album{Source: "pets", Classes: make([]string, len(counts))}
	for c, n := range counts {
		a.Classes[c] = string(rune('a' + c))
		for range n {
			a.items = append(a.items, item{at: int32(len(a.items)), class: int32(c)})
		}
	}
	return a
}

func numbers(a *Album) []int {
	n := []int{}
	for _, it := range a.items {
		n = append(n, int(it.at))
	}
	return n
}

func TestSplitShare(t *testing.T) {
	for _, c := range []struct {
		name   string
		counts []int
		share  string
		test   []int
	}{
		{"in proportion", []int{60, 30, 10}, "0.1", []int{6, 3, 1}},
		{"largest remainder", []int{4, 5}, "0.3", []int{1, 2}},
		{"ties go to the first", []int{15, 15, 15}, " 0.1 ", []int{2, 2, 1}},
		{"a class of one stays", []int{9, 1}, "0.5", []int{5, 0}},
		{"an exact share does not make up for it", []int{4, 1}, "0.5", []int{2, 0}},
		{"one of two", []int{100, 2}, "0.1", []int{10, 1}},
		{"one of each small class", []int{5, 5, 5, 5}, "0.1", []int{1, 1, 1, 1}},
		{"nearly all", []int{4, 4, 2}, "0.99", []int{3, 3, 1}},
		{"nearly none", []int{4, 4, 1}, "0.001", []int{1, 1, 0}},
		{"a class without pictures", []int{10, 0, 10}, "0.2", []int{2, 0, 2}},
		{"not exact in binary", []int{100, 100}, "0.29", []int{29, 29}},
		{"many", []int{1000, 7, 333, 1, 52}, "0.15", []int{150, 1, 50, 0, 8}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := numbered(c.counts...)
			train, test, err := a.Split(c.share, 3)
			require.NoError(t, err)
			assert.Equal(t, c.test, test.Counts())
			all := append(numbers(train), numbers(test)...)
			require.True(t, slices.IsSorted(numbers(train)) && slices.IsSorted(numbers(test)))
			slices.Sort(all)
			require.Equal(t, numbers(a), all)
			require.Equal(t, a.Classes, test.Classes)
		})
	}
}

// Each class gives its share to less than one picture, at least one to either part, and all together is right unless
// that asks for more.
func TestQuotasHold(t *testing.T) {
	for classes := 1; classes < 40; classes++ {
		for _, share := range []float64{0.001, 0.05, 0.1, 1.0 / 3, 0.5, 0.77, 0.95, 0.999} {
			counts := make([]int, classes)
			sum := 0
			for c := range counts {
				counts[c] = (c*c*7 + c*13 + classes) % 97
				sum += counts[c]
			}
			forced, got := 0, 0
			for c, n := range quotas(counts, share) {
				exact := share * float64(counts[c])
				if counts[c] >= 2 {
					require.True(t, 1 <= n && n < counts[c])
				} else {
					require.Zero(t, n)
				}
				if n == 1 && exact < 1 || n == counts[c]-1 && exact > float64(n) || counts[c] == 1 {
					forced++
				} else {
					require.InDelta(t, exact, n, 1)
				}
				got += n
			}
			require.InDelta(t, share*float64(sum), got, 0.5+float64(forced))
		}
	}
}

func TestSplitIsTheSeeds(t *testing.T) {
	a := numbered(60, 30, 10)
	_, test, err := a.Split("0.1", 1)
	require.NoError(t, err)
	// The same seed draws the same pictures, on every machine and in every version.
	require.Equal(t, []int{3, 16, 23, 37, 43, 49, 68, 76, 80, 94}, numbers(test))
	_, other, err := a.Split("0.1", 2)
	require.NoError(t, err)
	require.NotEqual(t, numbers(test), numbers(other))
}

func TestSplitEvery(t *testing.T) {
	train, test, err := numbered(15, 10).Split("every 10", 0)
	require.NoError(t, err)
	require.Equal(t, []int{0, 10, 20}, numbers(test))
	require.Equal(t, []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 16, 17, 18, 19, 21, 22, 23, 24}, numbers(train))
}

func TestSplitNothing(t *testing.T) {
	train, test, err := numbered(1, 1).Split("", 0)
	require.NoError(t, err)
	require.Equal(t, []int{0, 1}, numbers(train))
	require.Zero(t, test.Len())
}

func TestSplitRefuses(t *testing.T) {
	for test, want := range map[string]string{
		"1.5":      `split "1.5": expected a share between 0 and 1, such as "0.1", or a step, such as "every 10"`,
		"0":        `split "0": expected a share between 0 and 1, such as "0.1", or a step, such as "every 10"`,
		"NaN":      `split "NaN": expected a share between 0 and 1, such as "0.1", or a step, such as "every 10"`,
		"some":     `split "some": expected a share between 0 and 1, such as "0.1", or a step, such as "every 10"`,
		"every":    `split "every": expected a share between 0 and 1, such as "0.1", or a step, such as "every 10"`,
		"every 1":  `split "every 1": "1" is not a whole number from 2 up`,
		"every 2x": `split "every 2x": "2x" is not a whole number from 2 up`,
		"0.5":      `split "0.5": of the 2 pictures of pets it puts 2 into training and 0 into the test`,
	} {
		_, _, err := numbered(1, 1).Split(test, 0)
		require.EqualError(t, err, want)
	}
	_, _, err := numbered(1).Split("every 2", 0)
	require.EqualError(t, err, `split "every 2": of the 1 pictures of pets it puts 0 into training and 1 into the test`)
}

func TestLimit(t *testing.T) {
	a := numbered(50, 3, 0, 20)
	ten := a.Limit(10, 1)
	assert.Equal(t, []int{10, 3, 0, 10}, ten.Counts())
	assert.True(t, slices.IsSorted(numbers(ten)))
	assert.Equal(t, numbers(ten), numbers(a.Limit(10, 1)))
	assert.NotEqual(t, numbers(ten), numbers(a.Limit(10, 2)))
	assert.NotEqual(t, numbers(numbered(10).Limit(10, 1)), numbers(numbered(50).Limit(10, 1)), "the first ones are not meant")
	few := a.Limit(4, 1)
	for _, n := range numbers(few) {
		assert.Contains(t, numbers(ten), n)
	}
	assert.Equal(t, numbers(a), numbers(a.Limit(50, 9)))
	assert.Zero(t, a.Limit(0, 1).Len())
	assert.Zero(t, a.Limit(-1, 1).Len())
	assert.Equal(t, 73, a.Len())
}
