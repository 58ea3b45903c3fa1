package data

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
)

func TestAPanicOfADataSetIsTheCallers(t *testing.T) {
	set := newSamples(30, mixed)
	set.before = func(indices []int) error {
		if slices.Contains(indices, 7) {
			panic("no such row")
		}
		return nil
	}
	defer func() {
		require.ErrorContains(t, recover().(error), "making a batch: panic: no such row\n\ngoroutine")
	}()
	for range Batches(t.Context(), set, newSampler(set, 4).Evaluation()) {
		continue
	}
}

func TestBatchesKeepTheOrder(t *testing.T) {
	set := newSamples(50, mixed)
	groups := newSampler(set, 3).shuffled(1, 1)
	var got [][]int
	for b, err := range Batches(t.Context(), set, requests(groups, 0)) {
		require.NoError(t, err)
		got = append(got, b.Indices())
	}
	assert.Equal(t, groups, got)
}

func TestBatchesPassOnAnError(t *testing.T) {
	set := newSamples(12, mixed)
	broken := errors.New("row 4 is broken")
	set.before = func(indices []int) error {
		if slices.Contains(indices, 4) {
			return broken
		}
		return nil
	}
	var good int
	var failed []error
	for _, err := range Batches(t.Context(), set, requests([][]int{{0, 1}, {2, 3}, {4, 5}, {6, 7}}, 0)) {
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
	set := newSamples(4, nil)
	set.before = func([]int) error { panic(&torch.Error{Op: "decode", Msg: "no picture"}) }
	var failed []error
	for _, err := range Batches(t.Context(), set, requests([][]int{{0, 1}, {2, 3}}, 0)) {
		failed = append(failed, err)
	}
	require.Len(t, failed, 1)
	assert.ErrorContains(t, failed[0], "decode: no picture")
}

func TestBatchesEndWithTheirLoop(t *testing.T) {
	before := runtime.NumGoroutine()
	set := newSamples(100, nil)
	var working atomic.Int32
	set.before = func([]int) error {
		working.Add(1)
		time.Sleep(time.Millisecond)
		working.Add(-1)
		return nil
	}
	groups := newSampler(set, 2).sorted()
	for range Batches(t.Context(), set, requests(groups, 0)) {
		break
	}
	assert.Zero(t, working.Load(), "the data set is at rest after the loop")
	for range Batches(t.Context(), set, nil) {
		assert.Fail(t, "there are no batches")
	}
	func() { // a loop that is left by a panic
		defer func() { _ = recover() }()
		for range Batches(t.Context(), set, requests(groups, 0)) {
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
	set := newSamples(100, nil)
	groups := newSampler(set, 2).sorted()
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	enough := errors.New("enough")
	good := 0
	var last error
	for _, err := range Batches(ctx, set, requests(groups, 0)) {
		if last = err; err == nil {
			good++
		}
		if good == 3 {
			cancel(enough)
		}
	}
	assert.Equal(t, 3, good)
	assert.Equal(t, enough, last)

	for _, err := range Batches(ctx, set, requests(groups, 0)) {
		assert.Equal(t, enough, err, "a context that was over before")
	}
}

func TestLoadPacksAndCloses(t *testing.T) {
	set := newSamples(30, mixed)
	closed := 0
	set.closed = func() { closed++ }
	set.keep = func(i int) bool { return i < 3 || i > 5 }
	asked := requests([][]int{{0, 1, 2}, {3, 4, 5}, {6, 7, 8}, {5, 9}}, 1)
	var inputs []torch.Tensor
	var got [][]int
	for l, err := range Load(t.Context(), set, asked, func(b *rows) []torch.Tensor {
		return []torch.Tensor{torch.NewParam(func() torch.Tensor { return torch.FromSlice(b.index) })}
	}) {
		require.NoError(t, err)
		require.Len(t, l.Inputs, 1)
		assert.Equal(t, len(l.Batch.Indices()), l.Inputs[0].Numel())
		inputs, got = append(inputs, l.Inputs...), append(got, l.Batch.Indices())
	}
	assert.Equal(t, [][]int{{0, 1, 2}, {6, 7, 8}, {9}}, got, "a batch without samples is passed over")
	for _, x := range inputs {
		assert.True(t, x.Closed())
	}
	assert.Equal(t, 4, closed)
}

// The order does not depend on how many goroutines make batches, and no more of them run than the data set allows.
func TestLoadOnSeveralGoroutinesKeepsTheOrder(t *testing.T) {
	for _, at := range []int{0, 1, 2, 7} {
		set := newSamples(120, mixed)
		var working, most atomic.Int32
		set.before = func(indices []int) error {
			now := working.Add(1)
			defer working.Add(-1)
			for {
				seen := most.Load()
				if now <= seen || most.CompareAndSwap(seen, now) {
					break
				}
			}
			time.Sleep(time.Duration(indices[0]%5) * 100 * time.Microsecond)
			return nil
		}
		asked := newSampler(set, 3).Training(1, 1)
		var got [][]int
		for b, err := range Batches(t.Context(), several{set, at}, asked) {
			require.NoError(t, err)
			got = append(got, b.Indices())
		}
		var want [][]int
		for _, r := range asked {
			want = append(want, r.Indices)
		}
		assert.Equal(t, want, got)
		assert.LessOrEqual(t, int(most.Load()), max(1, at))
	}
}
