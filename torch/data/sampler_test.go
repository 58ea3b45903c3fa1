package data

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
)

func TestSamplerCutsEveryRowOnceWithinItsLimits(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for trial := range 300 {
		s := sampler{lengths: make([]int, rng.IntN(60)), size: 1 + rng.IntN(12)}
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

func TestAPanicOfADataSetIsTheCallers(t *testing.T) {
	data := newSamples(1, 30, mixed)
	data.before = func(indices []int) error {
		if slices.Contains(indices, 7) {
			panic("no such row")
		}
		return nil
	}
	defer func() {
		require.ErrorContains(t, recover().(error), "making a batch: panic: no such row\n\ngoroutine")
	}()
	for range batches(t.Context(), data, SortedBatches(data, 4)) {
		continue
	}
}

func TestSamplesOfNoLengthAreTrainedOn(t *testing.T) {
	s := sampler{lengths: make([]int, 96), size: 8}
	for i := range s.lengths {
		s.lengths[i] = i % 20
	}
	s.buckets = chooseBuckets(s.lengths)
	seen := map[int]bool{}
	for _, r := range s.training(1, 1) {
		for _, i := range r.Indices {
			seen[i] = true
		}
	}
	require.Len(t, seen, 96)
}

// requireCut checks that batches hold every row once, are short rows first, and keep to the limits.
func requireCut(t *testing.T, s sampler, batches [][]int) {
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
	s := sampler{lengths: []int{5, 1, 3, 1, 9}, size: 3}
	assert.Equal(t, [][]int{{1, 3, 2}, {0, 4}}, s.sorted())
	s.tokens = 9
	assert.Equal(t, [][]int{{1, 3, 2}, {0}, {4}}, s.sorted())
	s.tokens = 8 // the last row is over the budget by itself
	assert.Equal(t, [][]int{{1, 3}, {2}, {0}, {4}}, s.sorted())
	assert.Empty(t, sampler{size: 3}.sorted())
	assert.Empty(t, sampler{size: 3}.shuffled(1, 1))
}

func TestShuffledDiffersBySeedAndEpoch(t *testing.T) {
	s := sampler{lengths: make([]int, 40), size: 8}
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
		s := sampler{lengths: make([]int, c.rows), size: c.size}
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
	data := newSamples(1, 20, mixed)
	asked := SortedBatches(data, 6)
	want := newSampler(data, 6, 0).sorted()
	slices.Reverse(want)
	assert.Equal(t, requests(want, 0), asked)
	last := asked[len(asked)-1]
	assert.Greater(t, data.Length(asked[0].Indices[0]), data.Length(last.Indices[0]), "long ones first")
}

func TestBatchesKeepTheOrder(t *testing.T) {
	data := newSamples(1, 50, mixed)
	groups := newSampler(data, 3, 0).shuffled(1, 1)
	var got [][]int
	for b, err := range batches(t.Context(), data, requests(groups, 0)) {
		require.NoError(t, err)
		got = append(got, b.Indices())
	}
	assert.Equal(t, groups, got)
}

func TestBatchesPassOnAnError(t *testing.T) {
	data := newSamples(1, 12, mixed)
	broken := errors.New("row 4 is broken")
	data.before = func(indices []int) error {
		if slices.Contains(indices, 4) {
			return broken
		}
		return nil
	}
	var good int
	var failed []error
	for _, err := range batches(t.Context(), data, requests([][]int{{0, 1}, {2, 3}, {4, 5}, {6, 7}}, 0)) {
		if err != nil {
			failed = append(failed, err)
			continue
		}
		good++
	}
	assert.Equal(t, 2, good)
	assert.Equal(t, []error{broken}, failed)
}

func TestBatchesPassOnATensorError(t *testing.T) {
	data := newSamples(1, 4, nil)
	data.before = func([]int) error { panic(&torch.Error{Op: "decode", Msg: "no picture"}) }
	var failed []error
	for _, err := range batches(t.Context(), data, requests([][]int{{0, 1}, {2, 3}}, 0)) {
		failed = append(failed, err)
	}
	require.Len(t, failed, 1)
	assert.ErrorContains(t, failed[0], "decode: no picture")
}

func TestBatchesEndWithTheirLoop(t *testing.T) {
	before := runtime.NumGoroutine()
	data := newSamples(1, 100, nil)
	var working atomic.Int32
	data.before = func([]int) error {
		working.Add(1)
		time.Sleep(time.Millisecond)
		working.Add(-1)
		return nil
	}
	groups := newSampler(data, 2, 0).sorted()
	for range batches(t.Context(), data, requests(groups, 0)) {
		break
	}
	assert.Zero(t, working.Load(), "the data set is at rest after the loop")
	for range batches(t.Context(), data, nil) {
		assert.Fail(t, "there are no batches")
	}
	func() { // a loop that is left by a panic
		defer func() { _ = recover() }()
		for range batches(t.Context(), data, requests(groups, 0)) {
			panic("out")
		}
	}()
	for range 1000 { // a goroutine that has closed its channel may live for a moment
		if runtime.NumGoroutine() <= before {
			break
		}
		time.Sleep(time.Millisecond)
	}
	assert.LessOrEqual(t, runtime.NumGoroutine(), before)
}

func TestBatchesStopWhenCancelled(t *testing.T) {
	data := newSamples(1, 100, nil)
	groups := newSampler(data, 2, 0).sorted()
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	enough := errors.New("enough")
	good := 0
	var last error
	for _, err := range batches(ctx, data, requests(groups, 0)) {
		if last = err; err == nil {
			good++
		}
		if good == 3 {
			cancel(enough)
		}
	}
	assert.Equal(t, 3, good)
	assert.Equal(t, enough, last)

	for _, err := range batches(ctx, data, requests(groups, 0)) {
		assert.Equal(t, enough, err, "a context that was over before")
	}
}
