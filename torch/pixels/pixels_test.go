package pixels_test

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/pixels"
	"github.com/thaw-ml/thaw/torch/torchtest"
)

func TestMain(m *testing.M) { torchtest.Main(m) }

func noise(n int) []byte {
	rng := rand.New(rand.NewPCG(1, uint64(n)))
	pix := make([]byte, n)
	for i := range pix {
		pix[i] = byte(rng.Uint32())
	}
	return pix
}

// One pass gives the bits of three operations, whatever the sizes and for a part of a batch.
func TestNormaliseIsThreeOperations(t *testing.T) {
	torch.Scoped(func() {
		factor, offset := torch.FromSlice([]float32{0.017, 0.0175, 0.01743}, 1, 3, 1, 1), torch.FromSlice([]float32{-2.1, -2.03, -1.8}, 1, 3, 1, 1)
		for _, shape := range [][3]int{{1, 1, 1}, {2, 3, 5}, {3, 7, 8}, {2, 224, 224}, {0, 4, 4}} {
			n, height, width := shape[0], shape[1], shape[2]
			x := torch.FromBytes(noise(n*height*width*3), torch.Uint8, n, height, width, 3)
			for _, part := range []torch.Tensor{x, x.Narrow(0, n/2, n-n/2), x.Narrow(2, 0, (width+1)/2)} {
				want := part.Permute(0, 3, 1, 2).To(torch.Float32).Mul(factor).Add(offset)
				got := pixels.Normalise(part, factor, offset)
				require.Equal(t, want.Shape(), got.Shape())
				assert.Equal(t, torch.ToSlice[float32](want), torch.ToSlice[float32](got), shape)
				assert.True(t, got.Permute(0, 2, 3, 1).IsContiguous() || n == 0 || part.Size(2) != width, "channels-last")
			}
		}
	})
}

func TestNormaliseRefuses(t *testing.T) {
	torch.Scoped(func() {
		x, three := torch.FromBytes(noise(12), torch.Uint8, 1, 2, 2, 3), torch.FromSlice([]float32{1, 2, 3}, 3)
		err := torch.Try(func() { pixels.Normalise(x.To(torch.Float32), three, three) })
		require.ErrorContains(t, err, "pictures [N, height, width, 3] in uint8 on the CPU are needed")
		err = torch.Try(func() { pixels.Normalise(x.Permute(0, 3, 1, 2), three, three) })
		require.ErrorContains(t, err, "pictures [N, height, width, 3]")
		err = torch.Try(func() { pixels.Normalise(x, three, torch.FromSlice([]float32{1}, 1)) })
		require.ErrorContains(t, err, "three numbers in float32")
	})
}

func needFast(t *testing.T) {
	t.Helper()
	if !pixels.Fast() {
		t.Skip("this CPU has no AVX2")
	}
}

// Sums are exact for the largest weights of either sign, rounded half up, and bounded.
func TestTapsSum(t *testing.T) {
	needFast(t)
	const one = 1 << pixels.PrecisionBits
	rng := rand.New(rand.NewPCG(2, 3))
	var taps pixels.Taps
	for range 300 {
		taps.Reset()
		const side = 23
		var first []int
		var weights [][]int32
		for range 1 + rng.IntN(40) {
			at := rng.IntN(side)
			w := make([]int32, 1+rng.IntN(min(side-at, 6)))
			for i := range w {
				switch rng.IntN(4) {
				case 0:
					w[i] = int32(rng.IntN(one))
				case 1:
					w[i] = -int32(rng.IntN(one / 4))
				case 2:
					w[i] = one/2 - int32(rng.IntN(3))
				}
			}
			first, weights = append(first, at), append(weights, w)
			taps.Add(at, w)
		}
		require.Equal(t, len(first), taps.Len())
		sum := func(pixel int, sample func(i int) byte) byte {
			total := int32(one / 2)
			for i, w := range weights[pixel] {
				total += int32(sample(first[pixel]+i)) * w
			}
			return byte(min(max(total>>pixels.PrecisionBits, 0), 255))
		}
		const rows = 6 // and so a group of rows that is not full
		from := noise(3 * side * rows)
		to := make([]byte, 3*len(first)*rows+1)
		to[len(to)-1] = 77
		taps.Rows(to, 3*len(first), from, 3*side, rows)
		for y := range rows {
			for x := range first {
				for c := range 3 {
					want := sum(x, func(i int) byte { return from[3*(side*y+i)+c] })
					require.Equal(t, want, to[3*(len(first)*y+x)+c])
				}
			}
		}
		require.Equal(t, byte(77), to[len(to)-1], "nothing is written behind the last row")

		n := pixels.LeastSamples + rng.IntN(40)
		from = noise(n * side)
		to = make([]byte, n*len(first)+1)
		to[len(to)-1] = 77
		taps.Columns(to, n, from, n, n)
		for y := range first {
			for x := range n {
				require.Equal(t, sum(y, func(i int) byte { return from[n*i+x] }), to[n*y+x])
			}
		}
		require.Equal(t, byte(77), to[len(to)-1])
	}
}

func TestTapsRefuseTooLittleMemory(t *testing.T) {
	needFast(t)
	var taps pixels.Taps
	taps.Rows(nil, 0, nil, 0, 3) // nothing to do
	taps.Columns(nil, 0, nil, 0, 3)
	taps.Add(2, []int32{1, 2})
	assert.PanicsWithValue(t, "pixels: Rows: 5 bytes are given where 6 are needed", func() {
		taps.Rows(make([]byte, 5), 3, make([]byte, 24), 12, 2)
	})
	assert.PanicsWithValue(t, "pixels: Rows: 23 bytes are given where 24 are needed", func() {
		taps.Rows(make([]byte, 6), 3, make([]byte, 23), 12, 2)
	})
	assert.PanicsWithValue(t, "pixels: Columns: 79 bytes are given where 80 are needed", func() {
		taps.Columns(make([]byte, 20), 20, make([]byte, 79), 20, 20)
	})
	assert.PanicsWithValue(t, "pixels: Columns: rows of 15 samples: they need 16 at least", func() {
		taps.Columns(make([]byte, 20), 20, make([]byte, 80), 20, 15)
	})
}
