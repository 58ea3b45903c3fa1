package transform

import "math"

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

// precisionBits is Pillow's for 8-bit pictures: 8 bits for the result, 2 for what bicubic overshoots.
const precisionBits = 32 - 8 - 2

// coefficients are the weights of source pixels in resized pixels of one side, in fixed point, for the resized pixels
// of a window. It follows precompute_coeffs and normalize_coeffs_8bpc of Pillow 13's src/libImaging/Resample.c.
type coefficients struct {
	low, high int      // the span of source pixels that the window needs
	first     []int    // the first source pixel for each resized pixel, and one more
	start     []int    // where its weights start, and one more for the end
	weights   []uint64 // int64 in two's complement
	scratch   []float64
}

// compute fills in the weights of the resized pixels [low, high) of out, from a side of in pixels.
func (c *coefficients) compute(filter Filter, in, out, low, high int) {
	scale := float64(in) / float64(out)
	filterScale := max(scale, 1)
	support := filter.support() * filterScale
	inverse := 1 / filterScale
	c.low, c.high = math.MaxInt, 0
	c.first, c.start, c.weights = c.first[:0], append(c.start[:0], 0), c.weights[:0]
	for i := low; i < high; i++ {
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
				c.weights = append(c.weights, uint64(int64(-0.5+float64(w*(1<<precisionBits)))))
			} else {
				c.weights = append(c.weights, uint64(int64(0.5+float64(w*(1<<precisionBits)))))
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
