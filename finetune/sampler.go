package finetune

import (
	"context"
	"iter"
	"math/rand/v2"
	"slices"

	"github.com/thaw-ml/thaw/torch"
)

// sampler cuts a data set into batches.
type sampler struct {
	lengths []int
	size    int // samples of a batch at most
	tokens  int // samples times the longest of a batch at most; 0 for no limit
}

func newSampler[B Samples](data Dataset[B], size, tokens int) sampler {
	s := sampler{lengths: make([]int, data.Len()), size: size, tokens: tokens}
	for i := range s.lengths {
		s.lengths[i] = data.Length(i)
	}
	return s
}

// sorted cuts the samples, short ones first, into batches.
func (s sampler) sorted() [][]int {
	order := make([]int, len(s.lengths))
	for i := range order {
		order[i] = i
	}
	return s.cut(order)
}

// longFirst turns sorted batches round: memory that runs short does so at once, and the blocks of long batches are used
// again for short ones, which the other way round leaves holes.
func longFirst(batches [][]int) [][]int {
	slices.Reverse(batches)
	return batches
}

// shuffled is sorted with samples of equal length, and then the batches, in an order that seed and epoch decide. So
// batches have next to no padding and still differ from epoch to epoch.
func (s sampler) shuffled(seed uint64, epoch int) [][]int {
	rng := rand.New(rand.NewPCG(seed, uint64(epoch)))
	batches := s.cut(rng.Perm(len(s.lengths)))
	rng.Shuffle(len(batches), func(i, j int) { batches[i], batches[j] = batches[j], batches[i] })
	return batches
}

// cut sorts order by length, ties as they come, and cuts it.
func (s sampler) cut(order []int) [][]int {
	slices.SortStableFunc(order, func(a, b int) int { return s.lengths[a] - s.lengths[b] })
	var batches [][]int
	start := 0
	for i := range order {
		full := i-start == s.size
		over := s.tokens > 0 && i > start && (i-start+1)*s.lengths[order[i]] > s.tokens
		if full || over {
			batches = append(batches, order[start:i])
			start = i
		}
	}
	if start < len(order) {
		batches = append(batches, order[start:])
	}
	return batches
}

// ahead is the number of batches made before they are asked for.
const ahead = 4

// batches makes the groups into batches, on a goroutine of its own that runs ahead of the step.
func batches[B Samples](ctx context.Context, data Dataset[B], groups [][]int) iter.Seq2[B, error] {
	type made struct {
		batch B
		err   error
	}
	return func(yield func(B, error) bool) {
		ctx, stop := context.WithCancel(ctx)
		ready := make(chan made, ahead)
		defer func() {
			stop()
			for range ready { // the data set is at rest when this returns
			}
		}()
		go func() {
			defer close(ready)
			for _, g := range groups {
				var b B
				var err error
				if failure := torch.Try(func() { b, err = data.Batch(g) }); failure != nil {
					err = failure
				}
				select {
				case ready <- made{b, err}:
				case <-ctx.Done():
					return
				}
				if err != nil {
					return
				}
			}
		}()
		for m := range ready {
			if ctx.Err() != nil {
				break
			}
			if !yield(m.batch, m.err) || m.err != nil {
				return
			}
		}
		if err := context.Cause(ctx); err != nil {
			var none B
			yield(none, err)
		}
	}
}

// SortedBatches cuts a data set into batches of samples of like length, short ones first.
func SortedBatches[B Samples](data Dataset[B], size int) [][]int {
	return newSampler(data, size, 0).sorted()
}
