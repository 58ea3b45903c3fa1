package transform

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// The operations of RandAugment and TrivialAugmentWide, in torchvision's order.
const (
	identity = iota
	shearX
	shearY
	translateX
	translateY
	rotate
	brightness
	color
	contrast
	sharpness
	posterize
	solarize
	autoContrast
	equalize
	augmentations // their number
)

// space is how strong augmentations get: the magnitude of the last bin. Bins are linear from 0.
type space struct {
	shear, rotate, blend float64
	translateX           float64 // pixels
	translateY           float64
	posterize            float64 // bits that are dropped
}

// magnitude is the strength at a bin, in float32 as torch.linspace has it: from both ends to the middle, with fused
// multiplication and addition. float64 holds the product of float32s, so that only the sum rounds.
func (s space) magnitude(augmentation, bin, bins int) float64 {
	linear := func(start, end float64) float64 {
		step := (float32(end) - float32(start)) / float32(bins-1)
		if bin < bins/2 {
			return float64(float32(float64(float32(start)) + float64(step)*float64(bin)))
		}
		return float64(float32(float64(float32(end)) - float64(step)*float64(bins-1-bin)))
	}
	switch augmentation {
	case shearX, shearY:
		return linear(0, s.shear)
	case translateX:
		return linear(0, s.translateX)
	case translateY:
		return linear(0, s.translateY)
	case rotate:
		return linear(0, s.rotate)
	case brightness, color, contrast, sharpness:
		return linear(0, s.blend)
	case posterize:
		return 8 - math.RoundToEven(float64(float32(bin)/float32(float64(bins-1)/s.posterize)))
	case solarize:
		return linear(255, 0)
	}
	return 0
}

// signed reports whether a magnitude's sign is drawn.
func signed(augmentation int) bool { return augmentation >= shearX && augmentation <= sharpness }

// augment adds an augmentation to the plan.
func augment(plan *Plan, augmentation int, magnitude float64) {
	switch augmentation {
	case shearX:
		plan.Add(Shear(magnitude, 0))
	case shearY:
		plan.Add(Shear(0, magnitude))
	case translateX:
		plan.Add(Translate(int(magnitude), 0))
	case translateY:
		plan.Add(Translate(0, int(magnitude)))
	case rotate:
		width, height := plan.Size()
		plan.Add(Rotate(magnitude, width, height))
	case brightness:
		plan.Add(Brightness{Factor: 1 + magnitude})
	case color:
		plan.Add(Saturation{Factor: 1 + magnitude})
	case contrast:
		plan.Add(Contrast{Factor: 1 + magnitude})
	case sharpness:
		plan.Add(Sharpness{Factor: 1 + magnitude})
	case posterize:
		plan.Add(Posterize{Bits: int(magnitude)})
	case solarize:
		plan.Add(Solarize{Threshold: magnitude})
	case autoContrast:
		plan.Add(AutoContrast{})
	case equalize:
		plan.Add(Equalize{})
	}
}

// draw picks an augmentation and its sign and adds it. bin gives the bin where the augmentation has a strength.
func (s space) draw(plan *Plan, rng *rand.Rand, bins int, bin func() int) {
	augmentation := rng.IntN(augmentations)
	magnitude := 0.0
	if augmentation >= shearX && augmentation <= solarize {
		magnitude = s.magnitude(augmentation, bin(), bins)
	}
	if signed(augmentation) && rng.IntN(2) == 1 {
		magnitude = -magnitude
	}
	augment(plan, augmentation, magnitude)
}

// RandAugment applies random operations of one strength, one after another (Cubuk et al. 2019,
// https://arxiv.org/abs/1909.13719; torchvision's list and ranges). Moved pixels are taken from the nearest one; what
// comes in from outside is black.
type RandAugment struct {
	Operations int // how many; 0 stands for 2
	Magnitude  int // the strength's bin, from 0, no change for most; torchvision's default is 9
	Bins       int // the number of strengths; 0 stands for 31
}

// Draw implements Transform.
func (r RandAugment) Draw(plan *Plan, rng *rand.Rand) error {
	operations, bins := r.Operations, r.Bins
	if operations == 0 {
		operations = 2
	}
	if bins == 0 {
		bins = 31
	}
	if operations < 0 || bins < 2 || r.Magnitude < 0 || r.Magnitude >= bins {
		return fmt.Errorf("RandAugment: Operations %d, Magnitude %d of %d Bins: it needs one operation, two bins and a magnitude "+
			"from 0 to the number of bins less one", r.Operations, r.Magnitude, bins)
	}
	width, height := plan.Size()
	for range operations {
		randSpace(width, height).draw(plan, rng, bins, func() int { return r.Magnitude })
	}
	return nil
}

func randSpace(width, height int) space {
	return space{shear: 0.3, rotate: 30, blend: 0.9, translateX: 150. / 331 * float64(width),
		translateY: 150. / 331 * float64(height), posterize: 4}
}

// TrivialAugmentWide applies one random operation of random strength (Müller and Hutter 2021,
// https://arxiv.org/abs/2103.10158; torchvision's list and ranges).
type TrivialAugmentWide struct {
	Bins int // the number of strengths; 0 stands for 31
}

var wideSpace = space{shear: 0.99, rotate: 135, blend: 0.99, translateX: 32, translateY: 32, posterize: 6}

// Draw implements Transform.
func (t TrivialAugmentWide) Draw(plan *Plan, rng *rand.Rand) error {
	bins := t.Bins
	if bins == 0 {
		bins = 31
	}
	if bins < 2 {
		return fmt.Errorf("TrivialAugmentWide: Bins %d: it needs two at least", t.Bins)
	}
	wideSpace.draw(plan, rng, bins, func() int { return rng.IntN(bins) })
	return nil
}
