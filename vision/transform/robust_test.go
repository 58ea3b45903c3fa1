package transform_test

import (
	"fmt"
	"image"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/vision/picture"
	"github.com/thaw-ml/thaw/vision/transform"
)

func operations() []transform.Operation {
	return []transform.Operation{
		transform.Resample{Box: image.Rect(0, 0, 1, 1), Width: 3, Height: 2, Window: image.Rect(0, 0, 3, 2), Exact: true},
		transform.Resample{Box: image.Rect(0, 0, 1, 1), Width: 3, Height: 2, Window: image.Rect(-1, -2, 3, 2)},
		transform.Resample{Box: image.Rect(0, 0, 1, 1), Width: 3, Height: 2, Window: image.Rect(9, 9, 10, 12), Filter: transform.Nearest},
		transform.Crop{Box: image.Rect(-3, -3, 5, 5)}, transform.Crop{Box: image.Rect(100, 100, 105, 101)}, transform.FlipHorizontal{},
		transform.FlipVertical{}, transform.Brightness{Factor: 2}, transform.Contrast{Factor: 0.5}, transform.Saturation{Factor: math.MaxFloat32},
		transform.Sharpness{Factor: 3}, transform.Hue{Shift: 0.3}, transform.Posterize{Bits: 1}, transform.Solarize{Threshold: 3},
		transform.AutoContrast{}, transform.Equalize{}, transform.Invert{}, transform.Shear(0.3, 0), transform.Rotate(33, 1, 1),
		transform.Translate(math.MaxInt32, -5), transform.Affine{Matrix: [6]float64{1e300, 1, 1e300, -1e300, 1, 4}},
		transform.Erase{Box: image.Rect(-5, -5, 500, 500), Color: transform.MeanColor},
	}
}

func TestOperationsTakeTheSmallestAndTheLongest(t *testing.T) {
	for _, size := range [][2]int{{1, 1}, {1, 8000}, {8000, 1}, {2, 1}, {3, 3}} {
		src := synthetic(size[0], size[1])
		for _, op := range operations() {
			dst := new(picture.Image)
			require.NoError(t, op.Apply(dst, src), "%T%+v on %v", op, op, size)
			w, h := op.Size(src.Width, src.Height)
			require.Equal(t, [2]int{w, h}, [2]int{dst.Width, dst.Height}, "%T", op)
			require.Len(t, dst.Pix, 3*w*h, "%T", op)
		}
	}
}

func TestOperationsRefuseWhatIsNoPicture(t *testing.T) {
	for name, src := range map[string]*picture.Image{
		"needs one at least": {}, "has 0 x 5 pixels": {Height: 5}, "-1 x 2": {Width: -1, Height: 2, Pix: make([]byte, 6)},
		"not 3 a pixel": {Width: 2, Height: 2, Pix: make([]byte, 11)}, "9223372036854775807": {Width: math.MaxInt, Height: 3},
	} {
		for _, op := range operations() {
			err := op.Apply(new(picture.Image), src)
			require.Error(t, err, "%T", op)
			kind := strings.TrimPrefix(fmt.Sprintf("%T", op), "transform.")
			assert.ErrorContains(t, err, kind)
			if kind != "Resample" { // it looks at its box first
				assert.ErrorContains(t, err, name)
			}
		}
	}
	same := synthetic(4, 4)
	for _, op := range operations()[5:] {
		assert.ErrorContains(t, op.Apply(same, same), "share their pixels", "%T", op)
	}
}

func TestSettingsAreRefusedByName(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct {
		name string
		t    transform.Transform
	}{
		{"Resize", transform.Resize{}}, {"Resize", transform.Resize{Short: -1}}, {"Resize", transform.Resize{Short: 3, Width: 4}},
		{"Resize", transform.Resize{Width: 4}}, {"CenterCrop", transform.CenterCrop{Width: 0, Height: 3}},
		{"CenterCrop", transform.CenterCrop{Width: 1 << 40, Height: 1 << 40}}, {"RandomResizedCrop", transform.RandomResizedCrop{}},
		{"RandomResizedCrop", transform.RandomResizedCrop{Width: 1, Height: 1, Scale: [2]float64{0.5, 0.1}}},
		{"RandomResizedCrop", transform.RandomResizedCrop{Width: 1, Height: 1, Scale: [2]float64{math.NaN(), 1}}},
		{"RandomResizedCrop", transform.RandomResizedCrop{Width: 1, Height: 1, Ratio: [2]float64{0, math.Inf(1)}}},
		{"RandomHorizontalFlip", transform.RandomHorizontalFlip{Probability: 1.1}}, {"RandomVerticalFlip", transform.RandomVerticalFlip{Probability: math.NaN()}},
		{"ColorJitter", transform.ColorJitter{Brightness: -1}}, {"ColorJitter: Hue", transform.ColorJitter{Hue: 0.6}},
		{"RandAugment", transform.RandAugment{Magnitude: 31}}, {"RandAugment", transform.RandAugment{Operations: -1}},
		{"RandAugment", transform.RandAugment{Bins: 1}}, {"TrivialAugmentWide", transform.TrivialAugmentWide{Bins: 1}},
		{"RandomErasing", transform.RandomErasing{Probability: -0.1}}, {"RandomErasing", transform.RandomErasing{Scale: [2]float64{0.1, 2}}},
	} {
		err := transform.Pipeline{c.t}.Apply(new(picture.Image), synthetic(4, 4), rng)
		assert.ErrorContains(t, err, c.name, "%T%+v", c.t, c.t)
	}
	for _, c := range []struct {
		name string
		op   transform.Operation
	}{
		{"Brightness", transform.Brightness{Factor: -1}}, {"Contrast", transform.Contrast{Factor: math.Inf(1)}}, {"Saturation", transform.Saturation{Factor: math.NaN()}},
		{"Sharpness", transform.Sharpness{Factor: 1e300}}, {"Hue", transform.Hue{Shift: 0.51}}, {"Posterize", transform.Posterize{}},
		{"Posterize", transform.Posterize{Bits: 9}}, {"Solarize", transform.Solarize{Threshold: math.NaN()}}, {"Crop", transform.Crop{}},
		{"Affine", transform.Affine{Matrix: [6]float64{math.NaN()}}}, {"Resample", transform.Resample{}},
		{"filter", transform.Resample{Box: image.Rect(0, 0, 1, 1), Width: 1, Height: 1, Window: image.Rect(0, 0, 1, 1), Filter: 7}},
		{"does not lie within", transform.Resample{Box: image.Rect(0, 0, 5, 1), Width: 1, Height: 1, Window: image.Rect(0, 0, 1, 1)}},
	} {
		assert.ErrorContains(t, c.op.Apply(new(picture.Image), synthetic(4, 4)), c.name)
	}
	_, err := transform.Training{Size: 4, Policy: "x"}.Pipeline()
	assert.ErrorContains(t, err, "ta_wide")
	_, err = transform.NewPlan(0, 3)
	assert.ErrorContains(t, err, "0 x 3")
	// The whole result would be of 25 GB; its middle is not.
	tall := synthetic(1, 100000)
	assert.ErrorContains(t, transform.Pipeline{transform.Resize{Short: 256}}.Apply(new(picture.Image), tall, rng), "crop the picture")
	assert.NoError(t, transform.Evaluation(256, 224).Apply(new(picture.Image), tall, rng))
}

func FuzzPipeline(f *testing.F) {
	f.Add(uint16(1), uint16(1), uint16(224), uint16(224), uint64(1), 0.08, 1.0, 9)
	f.Add(uint16(1), uint16(8000), uint16(8), uint16(300), uint64(2), 0.5, 1.0, 0)
	f.Add(uint16(700), uint16(3), uint16(0), uint16(1), uint64(3), -1.0, math.Inf(1), 31)
	f.Fuzz(func(t *testing.T, w, h, width, height uint16, seed uint64, low, high float64, magnitude int) {
		if int(w)*int(h) > 1<<16 || int(width)*int(height) > 1<<16 {
			t.Skip("too large to be quick")
		}
		src := &picture.Image{Width: int(w), Height: int(h), Pix: make([]byte, 3*int(w)*int(h))}
		rng := rand.New(rand.NewPCG(seed, 1))
		for i := range src.Pix {
			src.Pix[i] = byte(rng.Uint32())
		}
		p := transform.Pipeline{
			transform.RandomResizedCrop{Width: int(width), Height: int(height), Scale: [2]float64{low, high}, Filter: transform.Filter(seed % 3), Exact: seed%2 == 0},
			transform.RandomHorizontalFlip{Probability: 0.5}, transform.RandAugment{Magnitude: magnitude}, transform.TrivialAugmentWide{},
			transform.ColorJitter{Brightness: high, Hue: low}, transform.RandomErasing{Probability: 1},
			transform.CenterCrop{Width: int(height), Height: int(width)},
		}
		dst := new(picture.Image)
		if err := p.Apply(dst, src, rng); err == nil {
			require.Equal(t, [2]int{int(height), int(width)}, [2]int{dst.Width, dst.Height})
			require.Len(t, dst.Pix, 3*int(width)*int(height))
		} else {
			require.NotEmpty(t, err.Error())
		}
	})
}
