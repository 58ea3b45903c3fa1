package transform_test

import (
	"image"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/vision/transform"
)

func bytesOf(values []int) []byte {
	out := make([]byte, len(values))
	for i, v := range values {
		out[i] = byte(v)
	}
	return out
}

func TestMixingIsTorchvisions(t *testing.T) {
	g, _ := goldens(t)
	m := g.Mixed
	cut := transform.Mix{Lambda: m.Lambda, Box: rectangle(m.Box)}
	batch := bytesOf(m.Batch)
	require.NoError(t, cut.Paste(batch, 6, 5))
	assert.Equal(t, bytesOf(m.Pasted), batch)

	targets, err := cut.Targets(m.Labels, 3)
	require.NoError(t, err)
	assert.InDeltaSlice(t, m.Targets, targets, 1e-7) // one float32 rounding
}

func TestBetaHasItsMoments(t *testing.T) {
	for _, alpha := range []float64{0.001, 0.1, 0.2, 0.4, 1, 2.5, 50} {
		rng := rand.New(rand.NewPCG(21, 22))
		var s, squares statistics
		for range 40000 {
			v, err := transform.Beta("test", rng, alpha)
			require.NoError(t, err)
			require.True(t, v >= 0 && v <= 1, v)
			s.add(v)
			squares.add((v - 0.5) * (v - 0.5))
		}
		s.expect(t, 0.5, "mean")
		squares.expect(t, 1/(4*(2*alpha+1)), "variance")
	}
}

func TestCutMixLambdaIsTheAreaThatStays(t *testing.T) {
	rng := rand.New(rand.NewPCG(23, 22))
	for range 2000 {
		mix, err := transform.CutMix{Alpha: 1}.Draw(rng, 31, 17)
		require.NoError(t, err)
		require.True(t, mix.Box.In(image.Rect(0, 0, 31, 17)))
		batch := make([]byte, 2*31*17*3)
		for i := range batch[:31*17*3] {
			batch[i] = 1
		}
		require.NoError(t, mix.Paste(batch, 31, 17))
		own := 0
		for _, v := range batch[:31*17*3] {
			own += int(v)
		}
		require.InDelta(t, mix.Lambda, float64(own)/(31*17*3), 1e-12)
	}
	mix, err := transform.MixUp{Alpha: 0.2}.Draw(rng)
	require.NoError(t, err)
	assert.True(t, mix.Box.Empty())
	batch := []byte{1, 2, 3}
	require.NoError(t, mix.Paste(batch, 1, 1))
	assert.Equal(t, []byte{1, 2, 3}, batch)
}

func TestMixRefuses(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, alpha := range []float64{0, -1, math.NaN(), math.Inf(1)} {
		_, err := transform.MixUp{Alpha: alpha}.Draw(rng)
		assert.ErrorContains(t, err, "MixUp: Alpha")
		_, err = transform.CutMix{Alpha: alpha}.Draw(rng, 4, 4)
		assert.ErrorContains(t, err, "CutMix: Alpha")
	}
	_, err := transform.CutMix{Alpha: 1}.Draw(rng, 0, 4)
	assert.ErrorContains(t, err, "CutMix")
	mix := transform.Mix{Lambda: 0.5, Box: image.Rect(0, 0, 2, 2)}
	assert.ErrorContains(t, mix.Paste(make([]byte, 13), 2, 2), "no whole number")
	assert.ErrorContains(t, mix.Paste(make([]byte, 3), 1, 1), "does not lie within")
	assert.ErrorContains(t, mix.Paste(nil, 0, 1), "CutMix")
	assert.NoError(t, mix.Paste(nil, 2, 2))
	_, err = mix.Targets([]int{0, 3}, 3)
	assert.ErrorContains(t, err, "sample 1 is of class 3")
	_, err = mix.Targets([]int{-1, 0}, 3)
	assert.ErrorContains(t, err, "sample 0 is of class -1")
	_, err = mix.Targets([]int{0}, 0)
	assert.Error(t, err)
}
