package augment

import (
	"fmt"
	"image"
	"math/rand/v2"
	"slices"

	"github.com/thaw-ml/thaw/vision/picture"
	"github.com/thaw-ml/thaw/vision/transform"
)

// PhotometricDistort changes colours and leaves boxes where they are: torchvision's RandomPhotometricDistort, of SSD (Liu
// et al. 2016). Brightness, contrast, saturation, hue and the order of the channels are changed in one of two cases
// each; contrast before saturation and hue or behind them. It is a transform.Transform.
type PhotometricDistort struct {
	// Bounds of the factors, and of the hue's shift in turns; 0, 0 stands for torchvision's: 0.875, 1.125 for
	// Brightness, 0.5, 1.5 for Contrast and Saturation, -0.05, 0.05 for Hue.
	Brightness, Contrast, Saturation, Hue [2]float64
}

// Draw implements transform.Transform.
func (p PhotometricDistort) Draw(plan *transform.Plan, rng *rand.Rand) error {
	for _, c := range []struct {
		name         string
		bounds       *[2]float64
		usual        [2]float64
		lowest, most float64
	}{
		{"Brightness", &p.Brightness, [2]float64{0.875, 1.125}, 0, 16},
		{"Contrast", &p.Contrast, [2]float64{0.5, 1.5}, 0, 16},
		{"Saturation", &p.Saturation, [2]float64{0.5, 1.5}, 0, 16},
		{"Hue", &p.Hue, [2]float64{-0.05, 0.05}, -0.5, 0.5},
	} {
		if *c.bounds == [2]float64{} {
			*c.bounds = c.usual
		}
		if b := *c.bounds; !(c.lowest <= b[0] && b[0] <= b[1] && b[1] <= c.most) {
			return fmt.Errorf("PhotometricDistort: %s %v: it needs %g <= low <= high <= %g", c.name, b, c.lowest, c.most)
		}
	}
	half := func() bool { return rng.IntN(2) == 0 }
	brightness, contrast, saturation, hue, channels, before := half(), half(), half(), half(), half(), half()
	if brightness {
		plan.Add(transform.Brightness{Factor: between(rng, p.Brightness)})
	}
	if contrast && before {
		plan.Add(transform.Contrast{Factor: between(rng, p.Contrast)})
	}
	if saturation {
		plan.Add(transform.Saturation{Factor: between(rng, p.Saturation)})
	}
	if hue {
		plan.Add(transform.Hue{Shift: between(rng, p.Hue)})
	}
	if contrast && !before {
		plan.Add(transform.Contrast{Factor: between(rng, p.Contrast)})
	}
	if order := rng.Perm(3); channels {
		plan.Add(Channels([3]int(order)))
	}
	return nil
}

// Channels puts a picture's channels into another order: the result's channel c is the picture's Channels[c]. It is a
// transform.Operation.
type Channels [3]int

// Size implements transform.Operation.
func (Channels) Size(width, height int) (int, int) { return width, height }

// Apply implements transform.Operation.
func (c Channels) Apply(dst, src *picture.Image) error {
	sorted := c
	if slices.Sort(sorted[:]); sorted != [3]int{0, 1, 2} {
		return fmt.Errorf("Channels %v: it needs 0, 1 and 2 in some order", [3]int(c))
	}
	whole := image.Rect(0, 0, src.Width, src.Height)
	if err := (transform.Crop{Box: whole}).Apply(dst, src); err != nil { // a copy
		return fmt.Errorf("Channels: %w", err)
	}
	for i := 0; i+3 <= len(src.Pix) && i+3 <= len(dst.Pix); i += 3 {
		in, out := src.Pix[i:i+3:i+3], dst.Pix[i:i+3:i+3]
		out[0], out[1], out[2] = in[c[0]], in[c[1]], in[c[2]]
	}
	return nil
}
