package transform

import (
	"fmt"
	"math"

	"github.com/thaw-ml/thaw/vision/picture"
)

// Hue turns the colour circle by Shift turns, -0.5 to 0.5, in Pillow's 8-bit HSV; steps are 1/255 of a turn, and the
// way there and back alone changes samples by a few units.
type Hue struct {
	Shift float64
	sameSize
}

// Apply implements Operation.
func (h Hue) Apply(dst, src *picture.Image) error {
	if !(h.Shift >= -0.5 && h.Shift <= 0.5) {
		return fmt.Errorf("Hue: a shift of %v turns: it lies between -0.5 and 0.5", h.Shift)
	}
	if err := begin("Hue", dst, src, src.Width, src.Height); err != nil {
		return err
	}
	shift := byte(int(h.Shift * 255)) // wraps around
	out := dst.Pix
	for i := 0; i+3 <= len(src.Pix) && i+3 <= len(out); i += 3 {
		in, o := src.Pix[i:i+3:i+3], out[i:i+3:i+3]
		hue, saturation, value := toHSV(in[0], in[1], in[2])
		o[0], o[1], o[2] = fromHSV(hue+shift, saturation, value)
	}
	return nil
}

// toHSV follows rgb2hsv_row of Pillow 13's src/libImaging/Convert.c, with its mixture of float and double.
func toHSV(r, g, b byte) (hue, saturation, value byte) {
	high, low := max(r, g, b), min(r, g, b)
	if high == low {
		return 0, 0, high
	}
	span := float32(high - low)
	s := span / float32(high)
	rc, gc, bc := float32(high-r)/span, float32(high-g)/span, float32(high-b)/span
	var h float32
	switch high {
	case r:
		h = bc - gc
	case g:
		h = float32(2 + float64(rc) - float64(bc))
	default:
		h = float32(4 + float64(gc) - float64(rc))
	}
	turn := float64(h)/6 + 1
	if turn >= 1 {
		turn--
	}
	h = float32(turn)
	return byte(int(float64(h) * 255)), byte(int(float64(s) * 255)), high
}

// fromHSV follows hsv2rgb of the same file.
func fromHSV(hue, saturation, value byte) (r, g, b byte) {
	if saturation == 0 {
		return value, value, value
	}
	sixth := float64(hue) * 6 / 255
	i := int(sixth)
	f := float32(sixth - float64(float32(i)))
	fs := float32(float64(saturation) / 255)
	v := float64(value)
	p := byte(math.Floor(float64(v*(1-float64(fs))) + 0.5))
	q := byte(math.Floor(float64(v*(1-float64(float32(fs*f)))) + 0.5))
	t := byte(math.Floor(float64(v*(1-float64(float64(fs)*(1-float64(f))))) + 0.5))
	switch i % 6 {
	case 0:
		return value, t, p
	case 1:
		return q, value, p
	case 2:
		return p, value, t
	case 3:
		return p, q, value
	case 4:
		return t, p, value
	}
	return value, p, q
}
