package transform

import (
	"fmt"
	"math"
	"strconv"

	"github.com/thaw-ml/thaw/vision/picture"
)

// Affine moves pixels: the result's pixel at (x, y) is the source's at (M0 x + M1 y + M2, M3 x + M4 y + M5), of pixel
// centres, to the nearest pixel; black where that lies outside.
type Affine struct {
	Matrix [6]float64
	sameSize
}

// Shear is torchvision's affine with a shear alone about the upper left corner, as RandAugment uses it: x and y are the
// tangents.
func Shear(x, y float64) Affine {
	// RandAugment goes through degrees, which rounds.
	tanX, tanY := math.Tan(radians(degrees(math.Atan(x)))), math.Tan(radians(degrees(math.Atan(y))))
	return Affine{Matrix: [6]float64{1 + float64(tanX*tanY), tanX, 0, tanY, 1, 0}}
}

// Translate moves the picture right and down by whole pixels.
func Translate(x, y int) Affine {
	return Affine{Matrix: [6]float64{1, 0, float64(-x), 0, 1, float64(-y)}}
}

// Rotate turns a picture of width x height pixels counter-clockwise about its middle, as Pillow's rotate.
func Rotate(angle float64, width, height int) Affine {
	angle = math.Mod(angle, 360)
	if angle < 0 {
		angle += 360
	}
	if angle == 0 {
		return Translate(0, 0)
	}
	a := -radians(angle)
	sin, cos := round15(math.Sin(a)), round15(math.Cos(a))
	x, y := float64(width)/2, float64(height)/2
	return Affine{Matrix: [6]float64{
		cos, sin, float64(cos*-x) + float64(sin*-y) + x,
		-sin, cos, float64(-sin*-x) + float64(cos*-y) + y,
	}}
}

func radians(degrees float64) float64 { return degrees * (math.Pi / 180) }
func degrees(radians float64) float64 { return radians * (180 / math.Pi) }

// round15 rounds to 15 decimals as Python does: correctly, in decimal.
func round15(v float64) float64 {
	rounded, err := strconv.ParseFloat(strconv.FormatFloat(v, 'f', 15, 64), 64)
	if err != nil {
		return v
	}
	return rounded
}

// Apply implements Operation. It follows ImagingTransformAffine of Pillow 13's src/libImaging/Geometry.c.
func (a Affine) Apply(dst, src *picture.Image) error {
	for _, v := range a.Matrix {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("Affine: the matrix %v holds what is no number", a.Matrix)
		}
	}
	if err := begin("Affine", dst, src, src.Width, src.Height); err != nil {
		return err
	}
	clear(dst.Pix)
	switch m := &a.Matrix; {
	case m[1] == 0 && m[3] == 0:
		straight(dst, src, m)
	case fits(m, 0, 0) && fits(m, src.Width, src.Height) && fits(m, 0, src.Height) && fits(m, src.Width, 0):
		fixed(dst, src, m)
	default:
		floating(dst, src, m)
	}
	return nil
}

// fits reports whether 16 bits and a sign hold where a corner goes.
func fits(m *[6]float64, x, y int) bool {
	return math.Abs(float64(x)*m[0]+float64(y)*m[1]+m[2]) < 32768 && math.Abs(float64(x)*m[3]+float64(y)*m[4]+m[5]) < 32768
}

// at cuts a position towards zero; what lies outside [0, n) becomes -1.
func at(position float64, n int) int {
	if position >= 0 && position < float64(n) {
		return int(position)
	}
	return -1
}

// straight keeps rows rows and columns columns.
func straight(dst, src *picture.Image, m *[6]float64) {
	s := resampling.Get().(*resampler)
	defer resampling.Put(s)
	s.columns = s.columns[:0]
	position := m[2] + float64(m[0]*0.5)
	for range dst.Width {
		s.columns = append(s.columns, 3*at(position, src.Width))
		position += m[0]
	}
	row := 3 * dst.Width
	position = m[5] + float64(m[4]*0.5)
	for y := range dst.Height {
		if from := at(position, src.Height); from >= 0 {
			in, out := src.Pix[from*row:(from+1)*row], dst.Pix[y*row:(y+1)*row]
			for i, x := range s.columns {
				if x >= 0 {
					o, p := out[3*i:3*i+3:3*i+3], in[x:x+3:x+3]
					o[0], o[1], o[2] = p[0], p[1], p[2]
				}
			}
		}
		position += m[4]
	}
}

// fixed works in 16.16 fixed point.
func fixed(dst, src *picture.Image, m *[6]float64) {
	fix := func(v float64) int32 { return int32(math.Floor(float64(v*65536) + 0.5)) }
	a0, a1, a3, a4 := fix(m[0]), fix(m[1]), fix(m[3]), fix(m[4])
	a2, a5 := fix(m[2]+float64(m[0]*0.5)+float64(m[1]*0.5)), fix(m[5]+float64(m[3]*0.5)+float64(m[4]*0.5))
	row := 3 * dst.Width
	for y := range dst.Height {
		out := dst.Pix[y*row : (y+1)*row]
		x, z := a2, a5
		for len(out) >= 3 {
			// Negative positions are large as unsigned numbers.
			if sx, sy := uint32(x>>16), uint32(z>>16); sx < uint32(src.Width) && sy < uint32(src.Height) {
				p := src.Pix[int(sy)*row+3*int(sx):]
				p = p[:3]
				out[0], out[1], out[2] = p[0], p[1], p[2]
			}
			out = out[3:]
			x, z = x+a0, z+a3
		}
		a2, a5 = a2+a1, a5+a4
	}
}

// floating serves pictures whose positions fixed point does not hold.
func floating(dst, src *picture.Image, m *[6]float64) {
	xo, yo := m[2]+float64(m[1]*0.5)+float64(m[0]*0.5), m[5]+float64(m[4]*0.5)+float64(m[3]*0.5)
	row := 3 * dst.Width
	for y := range dst.Height {
		xx, yy := xo, yo
		for x := range dst.Width {
			if sx, sy := at(xx, src.Width), at(yy, src.Height); sx >= 0 && sy >= 0 {
				copy(dst.Pix[y*row+3*x:y*row+3*x+3], src.Pix[sy*row+3*sx:])
			}
			xx, yy = xx+m[0], yy+m[3]
		}
		xo, yo = xo+m[1], yo+m[4]
	}
}
