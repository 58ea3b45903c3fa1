package transform

import (
	"math"

	"github.com/thaw-ml/thaw/torch/pixels"
)

// Filter is how a resized pixel is made of source pixels. Bilinear and Bicubic widen their kernel when a picture gets
// smaller (antialiasing), as Pillow always does and torchvision does by default.
type Filter int

// The filters.
const (
	Bilinear Filter = iota
	Bicubic         // Pillow's: a = -0.5
	Nearest
)

// String is torchvision's name of the filter.
func (f Filter) String() string {
	switch f {
	case Bilinear:
		return "bilinear"
	case Bicubic:
		return "bicubic"
	case Nearest:
		return "nearest"
	}
	return "unknown"
}

// support is the kernel's half width in pixels.
func (f Filter) support() float64 {
	if f == Bicubic {
		return 2
	}
	return 1
}

// at is the kernel's value. The conversions keep Go from fusing multiplications with additions, which rounds otherwise.
func (f Filter) at(x float64) float64 {
	x = math.Abs(x)
	switch {
	case f == Bilinear && x < 1:
		return 1 - x
	case f == Bicubic && x < 1:
		return float64(float64((float64(1.5*x)-2.5)*x)*x) + 1
	case f == Bicubic && x < 2:
		return (float64((float64((x-5)*x)+8)*x) - 4) * -0.5
	}
	return 0
}

const precisionBits = pixels.PrecisionBits

// coefficients are the weights of source pixels in resized pixels of one side, in fixed point, for the resized pixels
// of a window. It follows precompute_coeffs and normalize_coeffs_8bpc of Pillow 13's src/libImaging/Resample.c.
type coefficients struct {
	low, high int   // the span of source pixels that the window needs
	first     []int // the first source pixel for each resized pixel, and one more
	start     []int // where its weights start, and one more for the end
	weights   []int32
	scratch   []float64
}

// compute fills in the weights of the resized pixels [low, high) of out, from a side of in pixels; the last comes first
// where they are mirrored.
func (c *coefficients) compute(filter Filter, in, out, low, high int, mirrored bool) {
	scale := float64(in) / float64(out)
	filterScale := max(scale, 1)
	support := filter.support() * filterScale
	inverse := 1 / filterScale
	c.low, c.high = math.MaxInt, 0
	c.first, c.start, c.weights = c.first[:0], append(c.start[:0], 0), c.weights[:0]
	for k := range high - low {
		i := low + k
		if mirrored {
			i = high - 1 - k
		}
		center := float64((float64(i) + 0.5) * scale)
		first := max(int(center-support+0.5), 0)
		n := min(int(center+support+0.5), in) - first
		c.scratch = c.scratch[:0]
		sum := 0.0
		for x := range n {
			w := filter.at((float64(x+first) - center + 0.5) * inverse)
			c.scratch = append(c.scratch, w)
			sum += w
		}
		for _, w := range c.scratch {
			if sum != 0 {
				w /= sum
			}
			if w < 0 {
				c.weights = append(c.weights, int32(-0.5+float64(w*(1<<precisionBits))))
			} else {
				c.weights = append(c.weights, int32(0.5+float64(w*(1<<precisionBits))))
			}
		}
		// Zeros at the end change nothing and cost time.
		for n > 1 && c.weights[len(c.weights)-1] == 0 {
			c.weights, n = c.weights[:len(c.weights)-1], n-1
		}
		c.low, c.high = min(c.low, first), max(c.high, first+n)
		c.first = append(c.first, first)
		c.start = append(c.start, len(c.weights))
	}
}

// of are the weights of resized pixel i.
func (c *coefficients) of(i int) []int32 { return c.weights[c.start[i]:c.start[i+1]] }

// taps are the weights as the CPU's vector instructions take them, for source pixels counted from start on.
func (c *coefficients) taps(t *pixels.Taps, start int) *pixels.Taps {
	t.Reset()
	for i, first := range c.first {
		t.Add(first-start, c.of(i))
	}
	return t
}
