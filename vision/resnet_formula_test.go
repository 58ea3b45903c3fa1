package vision_test

import (
	"hash/fnv"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/vision"
)

// The formulas of testdata/resnet.py.

// word is number i of splitmix64 from the FNV-1a hash of a key on.
func word(seed uint64, i int) uint64 {
	z := seed + uint64(i+1)*0x9E3779B97F4A7C15
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return z ^ z>>31
}

func seedOf(key string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(key))
	return h.Sum64()
}

// numbers are n float32 even over middle ± spread; every other one negated, where alternate.
func numbers(key string, n int, middle, spread float64, alternate bool) []float32 {
	out, seed := make([]float32, n), seedOf(key)
	step, mid := float32(spread/(1<<23)), float32(middle)
	for i := range out {
		out[i] = float32(float32(int(word(seed, i)>>40)-1<<23)*step) + mid // rounded twice, also where the processor could once
		if alternate && i%2 == 1 {
			out[i] = -out[i]
		}
	}
	return out
}

// fill gives a network the formula's weights.
func fill(r *vision.ResNet) {
	last := ".bn3."
	if r.Architecture == "resnet18" || r.Architecture == "resnet34" {
		last = ".bn2."
	}
	for _, s := range nn.State(r) {
		shape := s.Tensor.Shape()
		middle, spread, alternate := 0.2, 0.02, false
		switch isLast := strings.Contains(s.Name, last); {
		case strings.HasSuffix(s.Name, ".num_batches_tracked"):
			continue
		case len(shape) == 4:
			middle, spread = 0, math.Sqrt(6/float64(shape[1]*shape[2]*shape[3]))
		case strings.HasPrefix(s.Name, "fc."):
			middle, spread = 0, 0.02
		case strings.HasSuffix(s.Name, "running_mean"):
			middle, spread = 0, 0.1
		case strings.HasSuffix(s.Name, "running_var"):
			middle, spread = 1, 0.25
		case strings.HasSuffix(s.Name, "bias") && isLast:
			middle, spread, alternate = 0.25, 0.02, true
		case strings.HasSuffix(s.Name, "bias"):
			middle, spread, alternate = 0.5, 0.05, true
		case isLast:
			middle, spread = 0.1, 0.01
		}
		torch.Scoped(func() {
			values := torch.FromSlice(numbers(s.Name, s.Tensor.Numel(), middle, spread, alternate), shape...)
			torch.NoGrad(func() { s.Tensor.Copy_(values) })
		})
	}
}

func images(name string, n, size int) torch.Tensor {
	return torch.FromSlice(numbers(name, n*3*size*size, 0, math.Sqrt(3), false), n, 3, size, size)
}

func labels(name string, n, classes int) torch.Tensor {
	out, seed := make([]int, n), seedOf(name)
	for i := range out {
		out[i] = int(word(seed, i) % uint64(classes))
	}
	return torch.FromSlice(out)
}

// samples is how many elements a digest holds.
const samples = 8

// digest is what a golden holds of a tensor: sum, L2 norm, largest magnitude, and sampled elements.
func digest(key string, x torch.Tensor) (d [3 + samples]float64) {
	torch.Scoped(func() {
		wide := torch.ToSlice[float64](x.Detach().To(torch.Float64))
		for _, v := range wide {
			d[0] += v
			d[1] += v * v
			d[2] = max(d[2], math.Abs(v))
		}
		d[1] = math.Sqrt(d[1])
		for i := range samples {
			d[3+i] = wide[word(seedOf("sample "+key), i)%uint64(len(wide))]
		}
	})
	return d
}

// closeDigests fails where a tensor of n elements is not the golden's: elements within tolerance of the largest, the
// norm within tolerance of itself, the sum within what such an error can make of it. It returns the largest difference
// of an element, relative.
func closeDigests(t testing.TB, key string, n int, want []float32, got [3 + samples]float64, tolerance float64) (worst float64) {
	t.Helper()
	top, norm := float64(want[2]), float64(want[1])
	require.Positive(t, top, key)
	require.InDelta(t, want[0], got[0], tolerance*math.Sqrt(float64(n))*norm, "sum of %s", key)
	require.InDelta(t, norm, got[1], tolerance*norm, "norm of %s", key)
	require.InDelta(t, top, got[2], tolerance*top, "largest of %s", key)
	for i := 3; i < len(got); i++ {
		apart := math.Abs(got[i]-float64(want[i])) / top
		worst = max(worst, apart)
		require.LessOrEqual(t, apart, tolerance, "element %d of %s: %v, not %v; the largest is %v", i-3, key, got[i], want[i], top)
	}
	return worst
}
