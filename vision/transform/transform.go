// Package transform prepares pictures for a network: resizing, cropping and augmenting, as torchvision 0.26 does it on
// Pillow's pictures, byte for byte where Pillow computes in a defined order.
//
// What is random is drawn before any pixel is touched. A [Transform] draws its parameters and adds [Operation]s to a
// [Plan]; the plan is then applied to pixels. So a decoder can be asked, before it decodes, for no more pixels than the
// plan needs ([Plan.Region], [Plan.Decoded], [Plan.Part]), and the same plan applied twice gives the same bytes.
//
// Transforms and operations are plain values and keep no state: they may be used from any number of goroutines at once.
// A Plan and a *rand.Rand belong to one goroutine at a time.
package transform

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/thaw-ml/thaw/vision/picture"
)

// Transform is one step of a pipeline.
type Transform interface {
	// Draw draws the step's parameters for a picture of the plan's size and adds what is to be done to the plan;
	// nothing, where the picture stays as it is. The error names the transform and the setting that is wrong.
	Draw(plan *Plan, rng *rand.Rand) error
}

// Operation changes pixels; its parameters are fixed.
type Operation interface {
	// Size is the result's size for a picture of width x height pixels.
	Size(width, height int) (int, int)

	// Apply writes the result for src to dst, in dst.Pix where its capacity is enough and in new memory otherwise.
	// dst and src share no memory. On an error dst's pixels are undefined.
	Apply(dst, src *picture.Image) error
}

// Pipeline runs transforms one after another. It is a Transform itself.
type Pipeline []Transform

// Draw implements Transform.
func (p Pipeline) Draw(plan *Plan, rng *rand.Rand) error {
	for _, t := range p {
		if err := t.Draw(plan, rng); err != nil {
			return err
		}
	}
	return nil
}

// Apply draws a plan for src and writes its result to dst, as [Plan.Apply] does. src is only read.
func (p Pipeline) Apply(dst, src *picture.Image, rng *rand.Rand) error {
	plan, err := NewPlan(src.Width, src.Height)
	if err != nil {
		return err
	}
	if err := p.Draw(plan, rng); err != nil {
		return err
	}
	return plan.Apply(dst, src)
}

// maxPixels bounds a result: 768 MiB. A picture of 1 x 100,000 pixels with its shorter side made 256 would need 18 GiB.
const maxPixels = 1 << 28

// sameSize is embedded in an operation that keeps the picture's size.
type sameSize struct{}

// Size implements Operation.
func (sameSize) Size(width, height int) (int, int) { return width, height }

// begin checks src and gives dst the result's size.
func begin(name string, dst, src *picture.Image, width, height int) error {
	if src.Width <= 0 || src.Height <= 0 {
		return fmt.Errorf("%s: the picture has %d x %d pixels: it needs one at least", name, src.Width, src.Height)
	}
	if src.Width > math.MaxInt/3/src.Height || len(src.Pix) != 3*src.Width*src.Height {
		return fmt.Errorf("%s: a picture of %d x %d pixels comes with %d bytes, not 3 a pixel", name, src.Width, src.Height,
			len(src.Pix))
	}
	if err := checkSize(name, width, height); err != nil {
		return err
	}
	n := 3 * width * height
	if cap(dst.Pix) >= n {
		dst.Pix = dst.Pix[:n]
		if &dst.Pix[0] == &src.Pix[0] {
			return fmt.Errorf("%s: source and destination share their pixels: give the destination memory of its own", name)
		}
	} else {
		dst.Pix = make([]byte, n)
	}
	dst.Width, dst.Height = width, height
	return nil
}

// checkSize refuses a result without pixels or with too many.
func checkSize(name string, width, height int) error {
	if width <= 0 || height <= 0 {
		return fmt.Errorf("%s: the result would have %d x %d pixels: it needs one at least", name, width, height)
	}
	if width > maxPixels/height {
		return fmt.Errorf("%s: the result would have %d x %d pixels, more than %d: crop the picture or make it smaller", name,
			width, height, maxPixels)
	}
	return nil
}

// checkProbability refuses what is no probability.
func checkProbability(name string, p float64) error {
	if !(p >= 0 && p <= 1) {
		return fmt.Errorf("%s: the probability %v is not between 0 and 1", name, p)
	}
	return nil
}

// uniform draws from [low, high).
func uniform(rng *rand.Rand, low, high float64) float64 { return low + (high-low)*rng.Float64() }
