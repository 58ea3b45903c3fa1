package transform

import (
	"fmt"
	"math"

	"github.com/thaw-ml/thaw/vision/picture"
)

// table maps each channel's samples.
type table [3][256]byte

func (t *table) set(f func(v int) byte) {
	for v := range 256 {
		t[0][v] = f(v)
	}
	t[1], t[2] = t[0], t[0]
}

func (t *table) apply(name string, dst, src *picture.Image) error {
	if err := begin(name, dst, src, src.Width, src.Height); err != nil {
		return err
	}
	out := dst.Pix
	for i := 0; i+3 <= len(src.Pix) && i+3 <= len(out); i += 3 {
		in, o := src.Pix[i:i+3:i+3], out[i:i+3:i+3]
		o[0], o[1], o[2] = t[0][in[0]], t[1][in[1]], t[2][in[2]]
	}
	return nil
}

// histogram counts each channel's samples.
func histogram(src *picture.Image) (counts [3][256]int) {
	for i := 0; i+3 <= len(src.Pix); i += 3 {
		in := src.Pix[i : i+3 : i+3]
		counts[0][in[0]]++
		counts[1][in[1]]++
		counts[2][in[2]]++
	}
	return counts
}

// Invert makes every sample 255 less itself.
type Invert struct{ sameSize }

// Apply implements Operation.
func (Invert) Apply(dst, src *picture.Image) error {
	var t table
	t.set(func(v int) byte { return byte(255 - v) })
	return t.apply("Invert", dst, src)
}

// Posterize keeps the upper Bits bits, 1 to 8, of every sample.
type Posterize struct {
	Bits int
	sameSize
}

// Apply implements Operation.
func (p Posterize) Apply(dst, src *picture.Image) error {
	if p.Bits < 1 || p.Bits > 8 {
		return fmt.Errorf("Posterize: %d bits: it keeps between 1 and 8", p.Bits)
	}
	var t table
	t.set(func(v int) byte { return byte(v &^ (1<<(8-p.Bits) - 1)) })
	return t.apply("Posterize", dst, src)
}

// Solarize inverts the samples that are not below Threshold.
type Solarize struct {
	Threshold float64
	sameSize
}

// Apply implements Operation.
func (s Solarize) Apply(dst, src *picture.Image) error {
	if math.IsNaN(s.Threshold) {
		return fmt.Errorf("Solarize: the threshold is not a number")
	}
	var t table
	t.set(func(v int) byte {
		if float64(v) < s.Threshold {
			return byte(v)
		}
		return byte(255 - v)
	})
	return t.apply("Solarize", dst, src)
}

// AutoContrast stretches each channel so that its darkest sample becomes 0 and its lightest 255.
type AutoContrast struct{ sameSize }

// Apply implements Operation.
func (AutoContrast) Apply(dst, src *picture.Image) error {
	var t table
	for c, counts := range histogram(src) {
		low, high := 0, 255
		for low < 255 && counts[low] == 0 {
			low++
		}
		for high > 0 && counts[high] == 0 {
			high--
		}
		// A channel of one value stays; so does what has no pixels, which apply refuses.
		scale, offset := 1.0, 0.0
		if high > low {
			scale = 255 / float64(high-low)
			offset = float64(float64(-low) * scale)
		}
		for v := range 256 {
			t[c][v] = byte(min(max(int(float64(float64(v)*scale)+offset), 0), 255))
		}
	}
	return t.apply("AutoContrast", dst, src)
}

// Equalize maps each channel so that its samples spread evenly (Pillow's ImageOps.equalize).
type Equalize struct{ sameSize }

// Apply implements Operation.
func (Equalize) Apply(dst, src *picture.Image) error {
	var t table
	for c, counts := range histogram(src) {
		sum, last := 0, 0
		for _, n := range counts {
			if n > 0 {
				sum, last = sum+n, n
			}
		}
		step := (sum - last) / 255
		n := step / 2
		for v := range 256 {
			t[c][v] = byte(v)
			if step > 0 {
				t[c][v] = byte(min(n/step, 255))
			}
			n += counts[v]
		}
	}
	return t.apply("Equalize", dst, src)
}
