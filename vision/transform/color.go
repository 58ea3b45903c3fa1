package transform

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/thaw-ml/thaw/vision/picture"
)

// The adjustments below move the picture away from or back to a duller one, as Pillow's ImageEnhance: factor 0 gives
// the dull picture, 1 the picture itself, above 1 more of what it has. A factor is finite and not negative.

func checkFactor(name string, factor float64) error {
	if !(factor >= 0 && factor <= math.MaxFloat32) {
		return fmt.Errorf("%s: the factor %v: it needs a finite number that is not negative", name, factor)
	}
	return nil
}

// blend is a + factor*(b-a) in float32, cut off towards zero, as ImagingBlend computes it.
func blend(a, b int, factor float32) byte {
	return cut(float32(a) + float32(factor*float32(b-a)))
}

func cut(v float32) byte {
	switch {
	case v <= 0:
		return 0
	case v >= 255:
		return 255
	}
	return byte(int32(v))
}

// luma is ITU-R 601-2's in fixed point, as Pillow's convert("L").
func luma(r, g, b byte) int { return (int(r)*19595 + int(g)*38470 + int(b)*7471 + 0x8000) >> 16 }

// Brightness mixes with black.
type Brightness struct {
	Factor float64
	sameSize
}

// Apply implements Operation.
func (b Brightness) Apply(dst, src *picture.Image) error {
	if err := checkFactor("Brightness", b.Factor); err != nil {
		return err
	}
	var t table
	t.set(func(v int) byte { return blend(0, v, float32(b.Factor)) })
	return t.apply("Brightness", dst, src)
}

// Contrast mixes with the picture's mean luma.
type Contrast struct {
	Factor float64
	sameSize
}

// Apply implements Operation.
func (c Contrast) Apply(dst, src *picture.Image) error {
	if err := checkFactor("Contrast", c.Factor); err != nil {
		return err
	}
	sum := 0
	for i := 0; i+3 <= len(src.Pix); i += 3 {
		in := src.Pix[i : i+3 : i+3]
		sum += luma(in[0], in[1], in[2])
	}
	mean := int(float64(sum)/float64(max(len(src.Pix)/3, 1)) + 0.5)
	var t table
	t.set(func(v int) byte { return blend(mean, v, float32(c.Factor)) })
	return t.apply("Contrast", dst, src)
}

// Saturation mixes with the picture's luma. RandAugment calls it Color.
type Saturation struct {
	Factor float64
	sameSize
}

// Apply implements Operation.
func (s Saturation) Apply(dst, src *picture.Image) error {
	if err := checkFactor("Saturation", s.Factor); err != nil {
		return err
	}
	if err := begin("Saturation", dst, src, src.Width, src.Height); err != nil {
		return err
	}
	scaled := scaledDifferences(float32(s.Factor))
	out := dst.Pix
	for i := 0; i+3 <= len(src.Pix) && i+3 <= len(out); i += 3 {
		in, o := src.Pix[i:i+3:i+3], out[i:i+3:i+3]
		gray := luma(in[0], in[1], in[2])
		base := float32(gray)
		around := scaled[255-gray:]
		around = around[:256]
		o[0], o[1], o[2] = cut(base+around[in[0]]), cut(base+around[in[1]]), cut(base+around[in[2]])
	}
	return nil
}

// scaledDifferences holds factor*d for d from -255 to 255.
func scaledDifferences(factor float32) (scaled [511]float32) {
	for i := range scaled {
		scaled[i] = factor * float32(i-255)
	}
	return scaled
}

// Sharpness mixes with the picture smoothed by 1/13 [1 1 1; 1 5 1; 1 1 1]. The outermost pixels stay.
type Sharpness struct {
	Factor float64
	sameSize
}

// Apply implements Operation.
func (s Sharpness) Apply(dst, src *picture.Image) error {
	if err := checkFactor("Sharpness", s.Factor); err != nil {
		return err
	}
	if err := begin("Sharpness", dst, src, src.Width, src.Height); err != nil {
		return err
	}
	copy(dst.Pix, src.Pix)
	scaled := scaledDifferences(float32(s.Factor))
	row := 3 * src.Width
	for y := 1; y < src.Height-1 && src.Width >= 3; y++ {
		above, here, below := src.Pix[(y-1)*row:y*row], src.Pix[y*row:(y+1)*row], src.Pix[(y+1)*row:(y+2)*row]
		out := dst.Pix[y*row : (y+1)*row]
		above, below, out = above[:len(here)], below[:len(here)], out[:len(here)]
		for x := 3; x+3 < len(here); x++ {
			sum := int(above[x-3]) + int(above[x]) + int(above[x+3]) + int(below[x-3]) + int(below[x]) + int(below[x+3]) +
				int(here[x-3]) + int(here[x+3]) + 5*int(here[x])
			// Pillow adds up in float32 and rounds half up. sum/13 is never closer to a half than 1/26, so that this is
			// the same.
			smooth := (sum + 6) / 13
			out[x] = cut(float32(smooth) + scaled[255+int(here[x])-smooth])
		}
	}
	return nil
}

// ColorJitter changes brightness, contrast, saturation and hue by random amounts, in random order. A factor is drawn
// from [max(0, 1-v), 1+v] for the first three, the hue's shift from [-v, v] turns; 0 leaves a property alone.
type ColorJitter struct {
	Brightness, Contrast, Saturation float64
	Hue                              float64 // at most 0.5
}

// Draw implements Transform.
func (j ColorJitter) Draw(plan *Plan, rng *rand.Rand) error {
	amounts := [4]float64{j.Brightness, j.Contrast, j.Saturation, j.Hue}
	for i, amount := range amounts {
		name := [4]string{"Brightness", "Contrast", "Saturation", "Hue"}[i]
		if !(amount >= 0 && amount <= math.MaxFloat32) || i == 3 && amount > 0.5 {
			return fmt.Errorf("ColorJitter: %s %v: it needs a number from 0 on, and Hue one up to 0.5", name, amount)
		}
	}
	order := [4]int{0, 1, 2, 3}
	rng.Shuffle(4, func(a, b int) { order[a], order[b] = order[b], order[a] })
	for _, i := range order {
		amount := amounts[i]
		if amount == 0 {
			continue
		}
		if i == 3 {
			plan.Add(Hue{Shift: uniform(rng, -amount, amount)})
			continue
		}
		switch factor := uniform(rng, max(0, 1-amount), 1+amount); i {
		case 0:
			plan.Add(Brightness{Factor: factor})
		case 1:
			plan.Add(Contrast{Factor: factor})
		case 2:
			plan.Add(Saturation{Factor: factor})
		}
	}
	return nil
}
