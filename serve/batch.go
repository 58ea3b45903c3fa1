package serve

import (
	"cmp"
	"math"
	"slices"
)

// overhead is what a batch takes beside its tokens, as a number of tokens: about as long as two cores compute so many
// do they read the weights from memory, which a batch does once, whatever the size of the model. Half and twice this
// number make batches that take 2% longer (docs/decisions/014).
const overhead = 64

// choose gives the positions of the requests to compute next. costs are those of the requests that wait, oldest first,
// and not none.
//
// Batches have usual numbers of requests only. Padding is computed too, so requests of like cost belong together.
// choose cuts all that wait, sorted by cost, into batches that take the least time together, and gives the one that
// the oldest is in. So a request waits for as many batches at most as there are requests before it.
func choose(costs []int, maxBatch, maxTokens int) []int {
	order := make([]int, len(costs))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(costs[a], costs[b]) })
	// total[n] is the least time for the n smallest, the last batch of which begins at start[n].
	total, start := make([]int, len(order)+1), make([]int, len(order)+1)
	for end := 1; end <= len(order); end++ {
		total[end] = math.MaxInt
		width := costs[order[end-1]] // to which the others are padded
		for begin := end - 1; begin >= 0 && end-begin <= maxBatch; begin-- {
			if !usual(end - begin) {
				continue
			}
			size := (end - begin) * width
			if maxTokens > 0 && size > maxTokens && end-begin > 1 {
				break
			}
			if time := total[begin] + overhead + size; time < total[end] {
				total[end], start[end] = time, begin
			}
		}
	}
	oldest := slices.Index(order, 0)
	end := len(order)
	for start[end] > oldest {
		end = start[end]
	}
	return order[start[end]:end]
}

// usual reports whether batches may be of n requests: 1, 2, 3, 4, 6, 8, 12, 16 and so on. Libraries make a kernel for
// each shape of a batch and keep it, so with fewer shapes memory stops growing sooner.
func usual(n int) bool {
	for n > 3 && n%2 == 0 {
		n /= 2
	}
	return n <= 3
}
