package torchtest

import (
	"hash/fnv"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
)

// Words gives number i of splitmix64 from the FNV-1a hash of a key on: words of testdata/goldens.py.
func Words(key string) func(i int) uint64 {
	h := fnv.New64a()
	h.Write([]byte(key))
	seed := h.Sum64()
	return func(i int) uint64 {
		z := seed + uint64(i+1)*0x9E3779B97F4A7C15
		z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
		z = (z ^ z>>27) * 0x94D049BB133111EB
		return z ^ z>>31
	}
}

// Numbers are n float32 even over middle ± spread, every other one negated where alternate: numbers of
// testdata/goldens.py.
func Numbers(key string, n int, middle, spread float64, alternate bool) []float32 {
	out, word := make([]float32, n), Words(key)
	step, mid := float32(spread/(1<<23)), float32(middle)
	for i := range out {
		out[i] = float32(float32(int(word(i)>>40)-1<<23)*step) + mid // rounded twice, also where the processor could once
		if alternate && i%2 == 1 {
			out[i] = -out[i]
		}
	}
	return out
}

// Whole are n whole numbers from 0 to below - 1: whole of testdata/goldens.py.
func Whole(key string, n, below int) []int {
	out, word := make([]int, n), Words(key)
	for i := range out {
		out[i] = int(word(i) % uint64(below))
	}
	return out
}

// digested is how many elements a Digest has.
const digested = 8

// Digest is what a golden holds of a tensor in its place: sum, L2 norm, largest magnitude, and elements that a key
// chooses.
type Digest [3 + digested]float64

// DigestOf is digest of testdata/goldens.py.
func DigestOf(key string, x torch.Tensor) (d Digest) {
	torch.Scoped(func() {
		wide := torch.ToSlice[float64](x.Detach().To(torch.Float64))
		for _, v := range wide {
			d[0] += v
			d[1] += v * v
			d[2] = max(d[2], math.Abs(v))
		}
		d[1] = math.Sqrt(d[1])
		for i, at := range Whole("sample "+key, digested, len(wide)) {
			d[3+i] = wide[at]
		}
	})
	return d
}

// CloseDigests fails where a tensor of n elements is not the golden's: elements within tolerance of the largest, the
// norm within tolerance of itself, the sum within what such an error can make of it. It returns the largest difference
// of an element, relative to the largest.
func CloseDigests[F float32 | float64](t testing.TB, key string, n int, want []F, got Digest, tolerance float64) (worst float64) {
	t.Helper()
	require.Len(t, want, len(got), key)
	norm, top := float64(want[1]), float64(want[2])
	require.InDelta(t, want[0], got[0], tolerance*math.Sqrt(float64(n))*norm, "sum of %s", key)
	require.InDelta(t, norm, got[1], tolerance*norm, "norm of %s", key)
	require.InDelta(t, top, got[2], tolerance*top, "largest of %s", key)
	for i := 3; i < len(got); i++ {
		if top > 0 {
			worst = max(worst, math.Abs(got[i]-float64(want[i]))/top)
		}
		require.InDelta(t, want[i], got[i], tolerance*top, "element %d of %s; the largest is %v", i-3, key, top)
	}
	return worst
}
