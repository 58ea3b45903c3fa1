package data

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestBuckets(t *testing.T) {
	assert.Nil(t, chooseBuckets(nil))
	assert.Nil(t, chooseBuckets([]int{5, 5, 5}), "nothing to pad")
	assert.Equal(t, []int{8}, chooseBuckets([]int{1, 8, 3}))
	assert.Equal(t, []int{8, 24}, chooseBuckets([]int{8, 7, 17, 1}))
	lengths := make([]int, 0, 1000)
	for i := range 1000 {
		lengths = append(lengths, 1+i*i%128)
	}
	buckets := chooseBuckets(lengths)
	assert.Len(t, buckets, mostBuckets)
	assert.Equal(t, 128, buckets[len(buckets)-1])
	padded := func(buckets []int) (sum int) {
		for _, n := range lengths {
			for _, b := range buckets {
				if n <= b {
					sum += b
					break
				}
			}
		}
		return sum
	}
	// No other choice of as many multiples of 8 pads less.
	for mask := range 1 << 15 {
		var other []int
		for i := range 15 {
			if mask>>i&1 == 1 {
				other = append(other, 8*(i+1))
			}
		}
		if other = append(other, 128); len(other) == mostBuckets {
			require.GreaterOrEqual(t, padded(other), padded(buckets), "%v", other)
		}
	}
}

func TestBucketsHoldEveryRowOnceAndAreFull(t *testing.T) {
	for seed := range uint64(50) {
		lengths := make([]int, 200)
		for i := range lengths {
			lengths[i] = 1 + int(seed+1)*i*i%97
		}
		s := Sampler{lengths: lengths, size: 16, tokens: 512, buckets: chooseBuckets(lengths)}
		asked := s.Training(seed, 3)
		require.Equal(t, asked, s.Training(seed, 3))
		require.Len(t, s.Training(seed, 4), len(asked), "the number of steps is the same in every epoch")
		seen := make([]int, len(lengths))
		short := 0
		for _, r := range asked {
			require.Equal(t, 3, r.Epoch)
			require.LessOrEqual(t, len(r.Indices)*r.Length, 512)
			if len(r.Indices) < s.rows(r.Length) {
				short++
			}
			for _, i := range r.Indices {
				seen[i]++
				require.LessOrEqual(t, lengths[i], r.Length)
			}
		}
		require.LessOrEqual(t, short, 1)
		for i, n := range seen {
			require.Equal(t, 1, n, "row %d", i)
		}
	}
}
