package serve

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestChoose(t *testing.T) {
	for _, c := range []struct {
		name                string
		costs               []int
		maxBatch, maxTokens int
		want                []int // positions, in any order
	}{
		{"one", []int{7}, 32, 0, []int{0}},
		{"all alike", []int{20, 20, 20, 20}, 32, 0, []int{0, 1, 2, 3}},
		{"all alike, at most two", []int{20, 20, 20}, 2, 0, []int{0, 1}},
		{"little padding beats another batch", []int{30, 20}, 32, 0, []int{0, 1}},
		{"much padding does not", []int{100, 20, 110, 21, 22}, 32, 0, []int{0, 2}},
		{"the oldest is short", []int{20, 100, 110, 21, 22}, 32, 0, []int{0, 3, 4}},
		{"too many tokens together", []int{100, 100, 100, 100}, 32, 200, []int{0, 1}},
		{"too many alone", []int{300, 300}, 32, 200, []int{0}},
		{"requests without a length", slices.Repeat([]int{1}, 6), 32, 0, []int{0, 1, 2, 3, 4, 5}},
		{"an unusual number", slices.Repeat([]int{1}, 5), 32, 0, []int{0, 1, 2, 3}},
	} {
		t.Run(c.name, func(t *testing.T) {
			assert.ElementsMatch(t, c.want, choose(c.costs, c.maxBatch, c.maxTokens))
		})
	}
}

// The batches that choose gives one after the other, with nothing that comes between, take the least time that is
// possible.
func TestChooseTakesTheLeastTime(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		costs := make([]int, 1+rng.IntN(9))
		for i := range costs {
			costs[i] = 1 + rng.IntN(150)
		}
		maxBatch, maxTokens := 1+rng.IntN(9), rng.IntN(2)*rng.IntN(600)
		want := leastTime(slices.Sorted(slices.Values(costs)), maxBatch, maxTokens)
		got, left := 0, slices.Clone(costs)
		for len(left) > 0 {
			batch := choose(left, maxBatch, maxTokens)
			require.Contains(t, batch, 0, "the oldest is among them")
			require.LessOrEqual(t, len(batch), maxBatch)
			width := 0
			for _, i := range batch {
				width = max(width, left[i])
			}
			if maxTokens > 0 && len(batch) > 1 {
				require.LessOrEqual(t, len(batch)*width, maxTokens)
			}
			require.Contains(t, []int{1, 2, 3, 4, 6, 8}, len(batch))
			got += overhead + len(batch)*width
			for _, i := range slices.Backward(slices.Sorted(slices.Values(batch))) {
				left = slices.Delete(left, i, i+1)
			}
		}
		require.Equal(t, want, got, "%v, at most %d and %d tokens", costs, maxBatch, maxTokens)
	}
}

// leastTime tries all ways to cut at most nine sorted costs into batches of usual numbers.
func leastTime(costs []int, maxBatch, maxTokens int) int {
	if len(costs) == 0 {
		return 0
	}
	least := math.MaxInt
	for n := 1; n <= min(len(costs), maxBatch); n++ {
		if n == 5 || n == 7 || n == 9 {
			continue
		}
		size := n * costs[n-1]
		if maxTokens > 0 && size > maxTokens && n > 1 {
			break
		}
		least = min(least, overhead+size+leastTime(costs[n:], maxBatch, maxTokens))
	}
	return least
}

func BenchmarkChoose(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	costs := make([]int, 1024)
	for i := range costs {
		costs[i] = 5 + rng.IntN(60)
	}
	for b.Loop() {
		choose(costs, 32, 0)
	}
}
