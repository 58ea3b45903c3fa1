package data

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// numbered is the classes of as many samples of each class as counts says, class after class.
func numbered(counts ...int) (classes []int) {
	for c, n := range counts {
		for range n {
			classes = append(classes, c)
		}
	}
	return classes
}

// positions are where chosen is true.
func positions(chosen []bool) []int {
	at := []int{}
	for i, yes := range chosen {
		if yes {
			at = append(at, i)
		}
	}
	return at
}

// counted is the number of chosen samples of each of n classes.
func counted(classes []int, chosen []bool, n int) []int {
	counts := make([]int, n)
	for _, i := range positions(chosen) {
		counts[classes[i]]++
	}
	return counts
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
		{"a class without samples", []int{10, 0, 10}, "0.2", []int{2, 0, 2}},
		{"without classes", []int{10}, "0.25", []int{3}},
		{"not exact in binary", []int{100, 100}, "0.29", []int{29, 29}},
		{"many", []int{1000, 7, 333, 1, 52}, "0.15", []int{150, 1, 50, 0, 8}},
	} {
		t.Run(c.name, func(t *testing.T) {
			classes := numbered(c.counts...)
			test, err := Split(classes, c.share, 3)
			require.NoError(t, err)
			require.Len(t, test, len(classes))
			assert.Equal(t, c.test, counted(classes, test, len(c.counts)))
		})
	}
}

// The order of the samples decides nothing but which ones are drawn: each class gives as many however they are mixed.
func TestSplitOfMixedClasses(t *testing.T) {
	// 60 of class 0, 30 of class 1, 10 of class 2.
	classes := make([]int, 100)
	for i := range classes {
		classes[i] = []int{0, 1, 0, 2, 0, 1, 0, 0, 1, 0}[i%10]
	}
	test, err := Split(classes, "0.1", 1)
	require.NoError(t, err)
	assert.Equal(t, []int{6, 3, 1}, counted(classes, test, 3))
}

// Each class gives its share to less than one sample, at least one to either part, and all together is right unless
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
	classes := numbered(60, 30, 10)
	test, err := Split(classes, "0.1", 1)
	require.NoError(t, err)
	// The same seed draws the same samples, on every machine and in every version.
	require.Equal(t, []int{3, 16, 23, 37, 43, 49, 68, 76, 80, 94}, positions(test))
	again, err := Split(classes, "0.1", 1)
	require.NoError(t, err)
	require.Equal(t, test, again)
	other, err := Split(classes, "0.1", 2)
	require.NoError(t, err)
	require.NotEqual(t, test, other)
	require.Equal(t, numbered(60, 30, 10), classes, "the classes stay as they were")
}

func TestSplitEvery(t *testing.T) {
	for _, how := range []string{"every 10", " every  10 "} {
		test, err := Split(numbered(15, 10), how, 0)
		require.NoError(t, err)
		require.Equal(t, []int{0, 10, 20}, positions(test))
	}
}

func TestSplitNothing(t *testing.T) {
	for _, classes := range [][]int{{0, 1}, {}, nil} {
		for _, how := range []string{"", "  "} {
			test, err := Split(classes, how, 0)
			require.NoError(t, err)
			require.Len(t, test, len(classes))
			require.Empty(t, positions(test))
		}
	}
}

func TestSplitRefuses(t *testing.T) {
	const expected = `: expected a share between 0 and 1, such as "0.1", or a step, such as "every 10"`
	for how, want := range map[string]string{
		"1.5":      `split "1.5"` + expected,
		"0":        `split "0"` + expected,
		"-0.1":     `split "-0.1"` + expected,
		"1":        `split "1"` + expected,
		"NaN":      `split "NaN"` + expected,
		"some":     `split "some"` + expected,
		"every":    `split "every"` + expected,
		"every 1":  `split "every 1": "1" is not a whole number from 2 up`,
		"every -3": `split "every -3": "-3" is not a whole number from 2 up`,
		"every 2x": `split "every 2x": "2x" is not a whole number from 2 up`,
		"0.5":      `split "0.5": of 2 samples it puts 2 into training and 0 into the test`,
	} {
		test, err := Split(numbered(1, 1), how, 0)
		require.EqualError(t, err, want)
		require.Nil(t, test)
	}
	_, err := Split(numbered(1), "every 2", 0)
	require.EqualError(t, err, `split "every 2": of 1 samples it puts 0 into training and 1 into the test`)
	_, err = Split(nil, "0.5", 0)
	require.EqualError(t, err, `split "0.5": of 0 samples it puts 0 into training and 0 into the test`)
}

func TestLimit(t *testing.T) {
	classes := numbered(50, 3, 0, 20)
	ten := Limit(classes, 10, 1)
	assert.Equal(t, []int{10, 3, 0, 10}, counted(classes, ten, 4))
	assert.Equal(t, ten, Limit(classes, 10, 1))
	assert.NotEqual(t, ten, Limit(classes, 10, 2))
	assert.NotEqual(t, positions(Limit(numbered(10), 10, 1)), positions(Limit(numbered(50), 10, 1)), "the first ones are not meant")
	for _, i := range positions(Limit(classes, 4, 1)) {
		assert.True(t, ten[i], "those of a smaller number are among those of a larger one")
	}
	assert.Len(t, positions(Limit(classes, 50, 9)), 73)
	assert.Len(t, positions(Limit(classes, math.MaxInt, 9)), 73)
	assert.Empty(t, positions(Limit(classes, 0, 1)))
	assert.Empty(t, positions(Limit(classes, -1, 1)))
	assert.Empty(t, Limit(nil, 5, 1))
}
