package transform

import (
	"math/rand/v2"

	"github.com/thaw-ml/thaw/vision/picture"
)

// FlipHorizontal swaps left and right.
type FlipHorizontal struct{ sameSize }

// Apply implements Operation.
func (FlipHorizontal) Apply(dst, src *picture.Image) error {
	if err := begin("FlipHorizontal", dst, src, src.Width, src.Height); err != nil {
		return err
	}
	row := 3 * src.Width
	for y := range src.Height {
		in, out := src.Pix[y*row:(y+1)*row], dst.Pix[y*row:(y+1)*row]
		for len(in) >= 3 && len(out) >= 3 {
			end := out[len(out)-3:]
			end[0], end[1], end[2] = in[0], in[1], in[2]
			in, out = in[3:], out[:len(out)-3]
		}
	}
	return nil
}

// FlipVertical swaps top and bottom.
type FlipVertical struct{ sameSize }

// Apply implements Operation.
func (FlipVertical) Apply(dst, src *picture.Image) error {
	if err := begin("FlipVertical", dst, src, src.Width, src.Height); err != nil {
		return err
	}
	row := 3 * src.Width
	for y := range src.Height {
		copy(dst.Pix[(src.Height-1-y)*row:], src.Pix[y*row:(y+1)*row])
	}
	return nil
}

// RandomHorizontalFlip swaps left and right with a probability.
type RandomHorizontalFlip struct{ Probability float64 }

// Draw implements Transform.
func (f RandomHorizontalFlip) Draw(plan *Plan, rng *rand.Rand) error {
	return drawMaybe("RandomHorizontalFlip", f.Probability, FlipHorizontal{}, plan, rng)
}

// RandomVerticalFlip swaps top and bottom with a probability.
type RandomVerticalFlip struct{ Probability float64 }

// Draw implements Transform.
func (f RandomVerticalFlip) Draw(plan *Plan, rng *rand.Rand) error {
	return drawMaybe("RandomVerticalFlip", f.Probability, FlipVertical{}, plan, rng)
}

func drawMaybe(name string, probability float64, op Operation, plan *Plan, rng *rand.Rand) error {
	if err := checkProbability(name, probability); err != nil {
		return err
	}
	if rng.Float64() < probability {
		plan.Add(op)
	}
	return nil
}
