package transform

import (
	"fmt"
	"image"
	"math/rand/v2"

	"github.com/thaw-ml/thaw/vision/picture"
)

// Erase fills a box of the picture with a colour. What of the box lies outside the picture is ignored.
type Erase struct {
	Box   image.Rectangle
	Color [3]byte // red, green, blue
	sameSize
}

// Apply implements Operation.
func (e Erase) Apply(dst, src *picture.Image) error {
	if err := begin("Erase", dst, src, src.Width, src.Height); err != nil {
		return err
	}
	copy(dst.Pix, src.Pix)
	box := e.Box.Intersect(image.Rect(0, 0, src.Width, src.Height))
	for y := box.Min.Y; y < box.Max.Y; y++ {
		row := dst.Pix[3*(y*src.Width+box.Min.X) : 3*(y*src.Width+box.Max.X)]
		for i := 0; i+3 <= len(row); i += 3 {
			copy(row[i:], e.Color[:])
		}
	}
	return nil
}

// RandomErasing fills a random box with a colour (Zhong et al. 2017, https://arxiv.org/abs/1708.04896; torchvision's
// RandomErasing).
//
// torchvision erases after normalisation, with 0. These pictures are 8-bit and not normalised yet: Color is [MeanColor]
// for the same, to within rounding: MeanColor becomes at most 0.01 off 0 by normalisation with [Mean] and [Std].
type RandomErasing struct {
	Probability float64
	Scale       [2]float64 // bounds of the box's share of the picture's area; 0, 0 stands for 0.02, 0.33
	Ratio       [2]float64 // bounds of the box's height / width, drawn on a log scale; 0, 0 stands for 0.3, 3.3
	Color       [3]byte
}

// Draw implements Transform.
func (r RandomErasing) Draw(plan *Plan, rng *rand.Rand) error {
	if err := checkProbability("RandomErasing", r.Probability); err != nil {
		return err
	}
	erase := rng.Float64() < r.Probability
	// The box is drawn in any case, so that wrong bounds show at the first picture.
	width, height := plan.Size()
	box, err := r.Box(rng, width, height)
	if err != nil {
		return err
	}
	if erase && !box.Empty() {
		plan.Add(Erase{Box: box, Color: r.Color})
	}
	return nil
}

// Box draws the box for a picture of width x height pixels; an empty one when ten tries found none that is smaller than
// the picture both ways, or when the area drawn is less than a pixel.
func (r RandomErasing) Box(rng *rand.Rand, width, height int) (image.Rectangle, error) {
	if width <= 0 || height <= 0 {
		return image.Rectangle{}, fmt.Errorf("RandomErasing: a picture of %d x %d pixels: it needs one at least", width, height)
	}
	scale, ratio := r.Scale, r.Ratio
	if scale == [2]float64{} {
		scale = [2]float64{0.02, 0.33}
	}
	if ratio == [2]float64{} {
		ratio = [2]float64{0.3, 3.3}
	}
	if err := checkAreas("RandomErasing", scale, ratio); err != nil {
		return image.Rectangle{}, err
	}
	for range 10 {
		h, w := drawArea(rng, width, height, scale, ratio)
		if h < height && w < width {
			y, x := rng.IntN(height-h+1), rng.IntN(width-w+1)
			return image.Rect(x, y, x+w, y+h), nil
		}
	}
	return image.Rectangle{}, nil
}
