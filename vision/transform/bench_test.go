package transform_test

import (
	"image"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/vision/picture"
	"github.com/thaw-ml/thaw/vision/transform"
)

// BenchmarkOperation runs each operation by itself; testdata/bench.py runs torchvision's on the same sizes.
func BenchmarkOperation(b *testing.B) {
	crop := transform.Resample{Box: image.Rect(50, 37, 450, 337), Width: 224, Height: 224, Window: image.Rect(0, 0, 224, 224)}
	exact := crop
	exact.Exact = true
	bicubic := crop
	bicubic.Filter = transform.Bicubic
	photo, small := synthetic(500, 375), synthetic(224, 224)
	for _, c := range []struct {
		name string
		op   transform.Operation
		src  *picture.Image
	}{
		{"resized_crop", crop, photo}, {"resized_crop_exact", exact, photo}, {"resized_crop_bicubic", bicubic, photo},
		{"hflip", transform.FlipHorizontal{}, small}, {"vflip", transform.FlipVertical{}, small},
		{"brightness", transform.Brightness{Factor: 1.3}, small}, {"contrast", transform.Contrast{Factor: 1.3}, small},
		{"saturation", transform.Saturation{Factor: 1.3}, small}, {"hue", transform.Hue{Shift: 0.1}, small},
		{"sharpness", transform.Sharpness{Factor: 1.3}, small}, {"posterize", transform.Posterize{Bits: 4}, small},
		{"autocontrast", transform.AutoContrast{}, small}, {"equalize", transform.Equalize{}, small},
		{"shear", transform.Shear(0.2, 0), small}, {"translate", transform.Translate(20, 0), small},
		{"rotate", transform.Rotate(12, 224, 224), small},
	} {
		b.Run(c.name, func(b *testing.B) {
			dst := new(picture.Image)
			b.ReportAllocs()
			for b.Loop() {
				require.NoError(b, c.op.Apply(dst, c.src))
			}
		})
	}
}

// BenchmarkPipeline runs the presets from 500 x 375 to 224 x 224 pixels.
func BenchmarkPipeline(b *testing.B) {
	photo := synthetic(500, 375)
	for _, c := range []struct {
		name     string
		training *transform.Training
	}{
		{"evaluation", nil}, {"training", &transform.Training{Size: 224, Flip: 0.5}},
		{"training_ra", &transform.Training{Size: 224, Flip: 0.5, Policy: transform.RandPolicy, Magnitude: 9}},
		{"training_ta_wide", &transform.Training{Size: 224, Flip: 0.5, Policy: transform.TrivialPolicy}},
	} {
		b.Run(c.name, func(b *testing.B) {
			p := transform.Evaluation(256, 224)
			if c.training != nil {
				var err error
				p, err = c.training.Pipeline()
				require.NoError(b, err)
			}
			rng := rand.New(rand.NewPCG(1, 2))
			dst := new(picture.Image)
			b.ReportAllocs()
			for b.Loop() {
				require.NoError(b, p.Apply(dst, photo, rng))
			}
		})
	}
}
