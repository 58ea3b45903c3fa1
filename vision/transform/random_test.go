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

// The statistical tests have fixed seeds. Their bounds are four standard errors: another seed would pass 15,999 times
// of 16,000.

type statistics struct{ n, sum, squares float64 }

func (s *statistics) add(v float64) { s.n, s.sum, s.squares = s.n+1, s.sum+v, s.squares+v*v }
func (s *statistics) mean() float64 { return s.sum / s.n }
func (s *statistics) deviation() float64 {
	return math.Sqrt(s.squares/s.n - s.mean()*s.mean())
}

func (s *statistics) expect(t *testing.T, mean float64, what string) {
	t.Helper()
	assert.InDelta(t, mean, s.mean(), 4*s.deviation()/math.Sqrt(s.n), what)
}

func TestRandomResizedCropIsDistributedAsTorchvisions(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	const width, height = 2000, 2000
	// On a square picture a part of up to 3/4 of the area always fits, so that the first try counts and nothing is biased.
	crop := transform.RandomResizedCrop{Width: 224, Height: 224, Scale: [2]float64{0.08, 0.75}}
	var area, ratio, left, top statistics
	for range 20000 {
		box, err := crop.Box(rng, width, height)
		require.NoError(t, err)
		require.True(t, box.In(image.Rect(0, 0, width, height)))
		share := float64(box.Dx()*box.Dy()) / (width * height)
		aspect := math.Log(float64(box.Dx()) / float64(box.Dy()))
		require.InDelta(t, 0.415, share, 0.335+0.001)
		require.LessOrEqual(t, math.Abs(aspect), math.Log(4./3)+0.002)
		area.add(share)
		ratio.add(aspect)
		left.add(float64(box.Min.X) / float64(max(width-box.Dx(), 1)))
		top.add(float64(box.Min.Y) / float64(max(height-box.Dy(), 1)))
	}
	area.expect(t, 0.415, "area")
	ratio.expect(t, 0, "log ratio")
	left.expect(t, 0.5, "left")
	top.expect(t, 0.5, "top")
	assert.InDelta(t, 0.67/math.Sqrt(12), area.deviation(), 0.003, "area is uniform")
	assert.InDelta(t, 2*math.Log(4./3)/math.Sqrt(12), ratio.deviation(), 0.003, "log ratio is uniform")
}

func TestRandomErasingIsDistributedAsTorchvisions(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	var area, ratio statistics
	for range 20000 {
		box, err := transform.RandomErasing{Scale: [2]float64{0.02, 0.2}, Ratio: [2]float64{1, 4}}.Box(rng, 1000, 1000)
		require.NoError(t, err)
		require.True(t, box.In(image.Rect(0, 0, 1000, 1000)))
		area.add(float64(box.Dx()*box.Dy()) / 1e6)
		ratio.add(math.Log(float64(box.Dy()) / float64(box.Dx())))
	}
	area.expect(t, 0.11, "area")
	ratio.expect(t, math.Log(4)/2, "log of height / width")

	erased := 0
	for range 10000 {
		plan := planOf(t, 64, 64)
		require.NoError(t, transform.RandomErasing{Probability: 0.3, Color: transform.MeanColor}.Draw(plan, rng))
		erased += len(plan.Operations())
	}
	assert.InDelta(t, 3000, erased, 4*math.Sqrt(10000*0.3*0.7))
	box, err := transform.RandomErasing{}.Box(rng, 1, 1)
	require.NoError(t, err)
	assert.True(t, box.Empty() || box.Dx() < 1, "nothing is smaller than one pixel")
}

func TestFlipsHappenByTheirProbability(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	for _, p := range []float64{0, 0.25, 0.5, 1} {
		n := 0
		for range 4000 {
			plan := planOf(t, 3, 3)
			require.NoError(t, transform.RandomHorizontalFlip{Probability: p}.Draw(plan, rng))
			require.NoError(t, transform.RandomVerticalFlip{Probability: p}.Draw(plan, rng))
			n += len(plan.Operations())
		}
		assert.InDelta(t, 8000*p, n, 4*math.Sqrt(8000*p*(1-p)))
	}
}

func TestColorJitterDrawsFactorsAndOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(10, 9))
	jitter := transform.ColorJitter{Brightness: 0.4, Contrast: 1.5, Saturation: 0.2, Hue: 0.1}
	orders := map[string]int{}
	var brightness, contrast, saturation, hue statistics
	for range 12000 {
		plan := planOf(t, 3, 3)
		require.NoError(t, jitter.Draw(plan, rng))
		order := ""
		for _, op := range plan.Operations() {
			switch op := op.(type) {
			case transform.Brightness:
				order += "b"
				require.InDelta(t, 1, op.Factor, 0.4)
				brightness.add(op.Factor)
			case transform.Contrast:
				order += "c"
				require.InDelta(t, 1.25, op.Factor, 1.25)
				contrast.add(op.Factor)
			case transform.Saturation:
				order += "s"
				require.InDelta(t, 1, op.Factor, 0.2)
				saturation.add(op.Factor)
			case transform.Hue:
				order += "h"
				require.InDelta(t, 0, op.Shift, 0.1)
				hue.add(op.Shift)
			}
		}
		orders[order]++
	}
	assert.Len(t, orders, 24)
	for order, n := range orders {
		assert.InDelta(t, 500, n, 4*math.Sqrt(500), order)
	}
	brightness.expect(t, 1, "brightness")
	contrast.expect(t, 1.25, "contrast: from max(0, 1-1.5) to 2.5")
	saturation.expect(t, 1, "saturation")
	hue.expect(t, 0, "hue")

	plan := planOf(t, 3, 3)
	require.NoError(t, transform.ColorJitter{}.Draw(plan, rng))
	assert.Empty(t, plan.Operations())
}

// kinds counts the operations that a transform draws, moved by shear, shift and turn being told apart by their matrix.
func kinds(t *testing.T, transformation transform.Transform, n int) map[string]int {
	rng := rand.New(rand.NewPCG(11, 12))
	counts := map[string]int{}
	for range n {
		plan := planOf(t, 331, 331)
		require.NoError(t, transformation.Draw(plan, rng))
		if len(plan.Operations()) == 0 {
			counts["identity"]++
		}
		for _, op := range plan.Operations() {
			switch op := op.(type) {
			case transform.Affine:
				switch m := op.Matrix; {
				case m[1] != 0 && m[3] != 0:
					counts["rotate"]++
				case m[1] != 0:
					counts["shearX"]++
				case m[3] != 0:
					counts["shearY"]++
				case m[2] != 0:
					counts["translateX"]++
				case m[5] != 0:
					counts["translateY"]++
				default:
					counts["moved by nothing"]++
				}
			default:
				counts[typeName(op)]++
			}
		}
	}
	return counts
}

func typeName(op transform.Operation) string {
	switch op.(type) {
	case transform.Brightness:
		return "brightness"
	case transform.Saturation:
		return "color"
	case transform.Contrast:
		return "contrast"
	case transform.Sharpness:
		return "sharpness"
	case transform.Posterize:
		return "posterize"
	case transform.Solarize:
		return "solarize"
	case transform.AutoContrast:
		return "autoContrast"
	case transform.Equalize:
		return "equalize"
	}
	return "unknown"
}

func TestRandAugmentDrawsAllOperationsAlike(t *testing.T) {
	counts := kinds(t, transform.RandAugment{Operations: 1, Magnitude: 9}, 14000)
	assert.Len(t, counts, 14)
	for name, n := range counts {
		assert.InDelta(t, 1000, n, 4*math.Sqrt(1000), name)
	}
	// Two operations a picture by default; identity adds none.
	rng := rand.New(rand.NewPCG(3, 3))
	var number statistics
	for range 5000 {
		plan := planOf(t, 331, 331)
		require.NoError(t, transform.RandAugment{Magnitude: 9}.Draw(plan, rng))
		number.add(float64(len(plan.Operations())))
	}
	number.expect(t, 2*13./14, "operations")
}

func TestTrivialAugmentWideDrawsAllOperationsAlike(t *testing.T) {
	counts := kinds(t, transform.TrivialAugmentWide{}, 14000)
	still := counts["moved by nothing"] // bin 0 of the five that move
	delete(counts, "moved by nothing")
	assert.Len(t, counts, 14)
	assert.InDelta(t, 5000./31, still, 4*math.Sqrt(5000./31))
	for name, n := range counts {
		assert.InDelta(t, 1000, n, 4*math.Sqrt(1000)+1000./31, name)
	}
}

func TestSignsAreDrawn(t *testing.T) {
	rng := rand.New(rand.NewPCG(13, 12))
	up, down := 0, 0
	for range 20000 {
		plan := planOf(t, 331, 331)
		require.NoError(t, transform.RandAugment{Operations: 1, Magnitude: 9}.Draw(plan, rng))
		for _, op := range plan.Operations() {
			if b, ok := op.(transform.Brightness); ok && b.Factor > 1 {
				up++
			} else if ok {
				down++
			}
		}
	}
	assert.InDelta(t, 0, up-down, 4*math.Sqrt(float64(up+down)))
}
