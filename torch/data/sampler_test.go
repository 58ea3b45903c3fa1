package data

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func newSampler(set *samples, size int) Sampler {
	return NewSampler[*rows](set, SamplerOptions{Size: size})
}

func TestSamplerCutsEveryRowOnceWithinItsLimits(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for trial := range 300 {
		s := Sampler{lengths: make([]int, rng.IntN(60)), size: 1 + rng.IntN(12)}
		for i := range s.lengths {
			s.lengths[i] = 1 + rng.IntN(30)
		}
		if rng.IntN(2) == 0 {
			s.tokens = 1 + rng.IntN(100)
		}
		seed := rng.Uint64()
		sorted, shuffled := s.sorted(), s.shuffled(seed, trial)
		requireCut(t, s, sorted)
		requireCut(t, s, shuffled)
		require.Len(t, shuffled, len(sorted), "batches do not depend on the order of equal rows")
		require.Equal(t, shuffled, s.shuffled(seed, trial), "seed and epoch alone decide")

		order := slices.Concat(sorted...)
		require.True(t, slices.IsSortedFunc(order, func(i, j int) int {
			return cmp.Or(s.lengths[i]-s.lengths[j], i-j)
		}), "by length, equal rows as they come: %v", order)
	}
}

func TestSamplesOfNoLengthAreTrainedOn(t *testing.T) {
	s := Sampler{lengths: make([]int, 96), size: 8}
	for i := range s.lengths {
		s.lengths[i] = i % 20
	}
	s.buckets = chooseBuckets(s.lengths)
	seen := map[int]bool{}
	for _, r := range s.Training(1, 1) {
		for _, i := range r.Indices {
			seen[i] = true
		}
	}
	require.Len(t, seen, 96)
}

// requireCut checks that batches hold every row once, are short rows first, and keep to the limits.
func requireCut(t *testing.T, s Sampler, batches [][]int) {
	t.Helper()
	seen := make([]int, len(s.lengths))
	for _, batch := range batches {
		require.NotEmpty(t, batch)
		require.LessOrEqual(t, len(batch), s.size)
		for k, i := range batch {
			seen[i]++
			require.True(t, k == 0 || s.lengths[batch[k-1]] <= s.lengths[i])
		}
		if longest := s.lengths[batch[len(batch)-1]]; s.tokens > 0 && len(batch) > 1 {
			require.LessOrEqual(t, len(batch)*longest, s.tokens)
		}
	}
	for i, n := range seen {
		require.Equal(t, 1, n, "row %d", i)
	}
}

func TestSamplerFillsBatches(t *testing.T) {
	s := Sampler{lengths: []int{5, 1, 3, 1, 9}, size: 3}
	assert.Equal(t, [][]int{{1, 3, 2}, {0, 4}}, s.sorted())
	s.tokens = 9
	assert.Equal(t, [][]int{{1, 3, 2}, {0}, {4}}, s.sorted())
	s.tokens = 8 // the last row is over the budget by itself
	assert.Equal(t, [][]int{{1, 3}, {2}, {0}, {4}}, s.sorted())
	assert.Empty(t, Sampler{size: 3}.sorted())
	assert.Empty(t, Sampler{size: 3}.shuffled(1, 1))
}

func TestShuffledDiffersBySeedAndEpoch(t *testing.T) {
	s := Sampler{lengths: make([]int, 40), size: 8}
	for i := range s.lengths {
		s.lengths[i] = 1 + i%4
	}
	first := s.shuffled(1, 1)
	assert.NotEqual(t, first, s.shuffled(1, 2))
	assert.NotEqual(t, first, s.shuffled(2, 1))
	assert.NotEqual(t, first, s.shuffled(2, 2))
	assert.NotEqual(t, first, s.sorted())
}

func TestShuffledLeavesNoSampleAlone(t *testing.T) {
	for _, c := range []struct {
		rows, size int
		sizes      []int
	}{
		{9, 4, []int{4, 3, 2}},
		{13, 4, []int{4, 4, 3, 2}},
		{8, 4, []int{4, 4}},
		{10, 4, []int{4, 4, 2}},
		{3, 2, []int{2, 1}}, // there is nothing to take
		{3, 1, []int{1, 1, 1}},
		{1, 4, []int{1}},
	} {
		s := Sampler{lengths: make([]int, c.rows), size: c.size}
		batches := s.shuffled(1, 1)
		requireCut(t, s, batches)
		var sizes []int
		for _, b := range batches {
			sizes = append(sizes, len(b))
		}
		slices.SortFunc(sizes, func(a, b int) int { return b - a })
		assert.Equal(t, c.sizes, sizes, "%d rows in batches of %d", c.rows, c.size)
	}
}

func TestSortedBatches(t *testing.T) {
	set := newSamples(20, mixed)
	asked := newSampler(set, 6).Evaluation()
	want := newSampler(set, 6).sorted()
	slices.Reverse(want)
	assert.Equal(t, requests(want, 0), asked)
	last := asked[len(asked)-1]
	assert.Greater(t, set.Length(asked[0].Indices[0]), set.Length(last.Indices[0]), "long ones first")
}

func TestSamplersOfFixedShapesKeepToWhatAModelTakes(t *testing.T) {
	set := newSamples(64, func(i int) int { return 1 + i%30 })
	for _, most := range []int{0, 30, 31, 64} {
		s := NewSampler[*rows](set, SamplerOptions{Size: 8, FixedShapes: true, MaxLength: most})
		require.True(t, s.FixedShapes())
		require.Equal(t, set.lengths, s.Lengths())
		longest := 0
		for _, r := range s.Training(1, 1) {
			longest = max(longest, r.Length)
		}
		want := 32 // a multiple of 8
		if most > 0 {
			want = min(want, most)
		}
		assert.Equal(t, want, longest)
	}
	assert.False(t, NewSampler[*rows](newSamples(64, nil), SamplerOptions{Size: 8, FixedShapes: true}).FixedShapes(), "nothing to pad")
}

// grouped are samples of groups.
type grouped struct{ *samples }

func (grouped) Group(i int) int { return i % 3 }

func TestBatchesAreOfOneGroup(t *testing.T) {
	set := grouped{newSamples(50, func(i int) int { return 1 + i%7 })} // 17, 17 and 16 of each group
	s := NewSampler[*rows](set, SamplerOptions{Size: 4})
	for _, batches := range [][][]int{s.sorted(), s.shuffled(1, 1), s.shuffled(1, 2)} {
		assert.Len(t, batches, 13, "as many as without groups")
		mixed := 0
		for _, b := range batches {
			if slices.ContainsFunc(b, func(i int) bool { return i%3 != b[0]%3 }) {
				mixed++
			}
		}
		assert.LessOrEqual(t, mixed, 2, "where one group ends and the next begins")
		all := slices.Sorted(slices.Values(slices.Concat(batches...)))
		assert.Len(t, slices.Compact(all), 50, "each sample once")
	}
	assert.Equal(t, s.shuffled(1, 1), s.shuffled(1, 1))
	assert.NotEqual(t, s.shuffled(1, 1), s.shuffled(1, 2))
	mixed := 0
	for _, b := range newSampler(set.samples, 4).shuffled(1, 1) {
		if slices.ContainsFunc(b, func(i int) bool { return i%3 != b[0]%3 }) {
			mixed++
		}
	}
	assert.Greater(t, mixed, 2, "of samples without groups")
}
