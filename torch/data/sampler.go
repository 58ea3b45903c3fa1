package data

import (
	"cmp"
	"math/rand/v2"
	"slices"
)

// Sampler cuts a data set into batches of samples of like length, and of one group where the data set is Grouped.
type Sampler struct {
	lengths []int
	groups  []int // nil: the data set is not Grouped
	size    int
	tokens  int
	buckets []int // the lengths that training batches are padded to, rising; nil to pad as each batch needs
}

// SamplerOptions bound a batch.
type SamplerOptions struct {
	Size   int // samples of a batch at most
	Tokens int // samples times the longest of a batch at most; 0 for no limit
	// FixedShapes pads training batches to a few lengths, so that the steps of most batches have shapes that come
	// often, as CUDA graphs need. MaxLength, where not 0, is the longest that the model takes.
	FixedShapes bool
	MaxLength   int
}

// NewSampler makes a sampler of a data set.
func NewSampler[B Batch[B]](set Dataset[B], o SamplerOptions) Sampler {
	s := Sampler{lengths: make([]int, set.Len()), size: o.Size, tokens: o.Tokens}
	for i := range s.lengths {
		s.lengths[i] = set.Length(i)
	}
	if g, ok := any(set).(Grouped); ok {
		s.groups = make([]int, set.Len())
		for i := range s.groups {
			s.groups[i] = g.Group(i)
		}
	}
	if o.FixedShapes {
		s.buckets = chooseBuckets(s.lengths)
		if last := len(s.buckets) - 1; last >= 0 && o.MaxLength > 0 {
			s.buckets[last] = min(s.buckets[last], o.MaxLength)
		}
	}
	return s
}

// Lengths are those of the data set's samples. They are not to be changed.
func (s Sampler) Lengths() []int { return s.lengths }

// FixedShapes reports whether training batches are padded to a few lengths.
func (s Sampler) FixedShapes() bool { return s.buckets != nil }

// sorted cuts the samples, short ones first, into batches.
func (s Sampler) sorted() [][]int {
	order := make([]int, len(s.lengths))
	for i := range order {
		order[i] = i
	}
	return s.cut(order)
}

// Evaluation gives batches of all samples, long ones first.
func (s Sampler) Evaluation() []Request { return requests(longFirst(s.sorted()), 0) }

// longFirst turns sorted batches round: memory that runs short does so at once, and the blocks of long batches are used
// again for short ones, which the other way round leaves holes.
func longFirst(batches [][]int) [][]int {
	slices.Reverse(batches)
	return batches
}

// shuffled is sorted with samples of equal length, and then the batches, in an order that seed and epoch decide. So
// batches have next to no padding and still differ from epoch to epoch.
//
// A sample that would be left alone in the last batch takes one from the batch before along: BatchNorm has no variance
// of one value, and the step of a lone sample weighs as much as that of a whole batch.
func (s Sampler) shuffled(seed uint64, epoch int) [][]int {
	rng := rand.New(rand.NewPCG(seed, uint64(epoch)))
	order := rng.Perm(len(s.lengths))
	batches := s.cut(order)
	if n := len(batches); n > 1 && s.tokens == 0 && len(batches[n-1]) == 1 && len(batches[n-2]) > 2 {
		batches[n-2] = batches[n-2][:len(batches[n-2])-1]
		batches[n-1] = order[len(order)-2:]
	}
	rng.Shuffle(len(batches), func(i, j int) { batches[i], batches[j] = batches[j], batches[i] })
	return batches
}

// cut sorts order by group and length, ties as they come, and cuts it.
func (s Sampler) cut(order []int) [][]int {
	slices.SortStableFunc(order, func(a, b int) int {
		if s.groups != nil && s.groups[a] != s.groups[b] {
			return cmp.Compare(s.groups[a], s.groups[b])
		}
		return s.lengths[a] - s.lengths[b]
	})
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

// Training gives the batches of an epoch, counted from 1: samples of like length together, so that there is next to no
// padding, in an order that the seed and the epoch decide.
func (s Sampler) Training(seed uint64, epoch int) []Request {
	if s.buckets == nil {
		return requests(s.shuffled(seed, epoch), epoch)
	}
	rng := rand.New(rand.NewPCG(seed, uint64(epoch)))
	batches := s.fill(rng.Perm(len(s.lengths)))
	for i := range batches {
		batches[i].Epoch = epoch
	}
	rng.Shuffle(len(batches), func(i, j int) { batches[i], batches[j] = batches[j], batches[i] })
	return batches
}

// fill puts the samples, in order, into full batches of the buckets' lengths; what does not fill a batch goes on to the
// next longer bucket, so that at most one batch, of the longest, has fewer samples than fit.
func (s Sampler) fill(order []int) []Request {
	var batches []Request
	var waiting []int
	from := -1
	for _, length := range s.buckets {
		for _, i := range order {
			if n := s.lengths[i]; from < n && n <= length {
				waiting = append(waiting, i)
			}
		}
		from = length
		for rows := s.rows(length); len(waiting) >= rows; waiting = waiting[rows:] {
			batches = append(batches, Request{Indices: waiting[:rows:rows], Length: length})
		}
	}
	if len(waiting) > 0 {
		batches = append(batches, Request{Indices: waiting, Length: s.buckets[len(s.buckets)-1]})
	}
	return batches
}

// rows is the number of samples in a full batch of a length.
func (s Sampler) rows(length int) int {
	if s.tokens == 0 {
		return s.size
	}
	return min(s.size, max(1, s.tokens/length))
}

// mostBuckets keeps the number of graphs small: each takes as long to record as a few steps.
const mostBuckets = 8

// chooseBuckets gives the lengths, multiples of 8 (what tensor cores and masks like), at most mostBuckets of them, that
// make for the least padding. Where all samples have one length there is nothing to pad, and it is nil.
func chooseBuckets(lengths []int) []int {
	if len(lengths) == 0 || slices.Min(lengths) == slices.Max(lengths) {
		return nil
	}
	const step = 8
	up := func(n int) int { return (n + step - 1) / step }
	count := make([]int, up(slices.Max(lengths))+1) // of samples up to i*step long
	for _, n := range lengths {
		count[up(n)]++
	}
	for i := 1; i < len(count); i++ {
		count[i] += count[i-1]
	}
	// cost[k][i] is the padded length of all samples up to i steps in k+1 buckets, the last ending at i; cut[k][i] is
	// where the one before ends.
	last := len(count) - 1
	cost, cut := [mostBuckets][]int{}, [mostBuckets][]int{}
	best := 0
	for k := range mostBuckets {
		cost[k], cut[k] = make([]int, last+1), make([]int, last+1)
		for i := 1; i <= last; i++ {
			cost[k][i] = count[i] * i
			for j := 1; k > 0 && j < i; j++ {
				if c := cost[k-1][j] + (count[i]-count[j])*i; c < cost[k][i] {
					cost[k][i], cut[k][i] = c, j
				}
			}
		}
		if cost[k][last] < cost[best][last] {
			best = k
		}
	}
	var buckets []int
	for k, i := best, last; i > 0; k, i = k-1, cut[k][i] {
		buckets = append(buckets, i*step)
	}
	slices.Reverse(buckets)
	return buckets
}

// requests asks for groups of samples, padded as each needs.
func requests(groups [][]int, epoch int) []Request {
	out := make([]Request, len(groups))
	for i, g := range groups {
		out[i] = Request{Indices: g, Epoch: epoch}
	}
	return out
}
