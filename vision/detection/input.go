package detection

import (
	"fmt"
	"math"

	"github.com/thaw-ml/thaw/vision/picture"
)

// Input is what a network sees of a picture: as torchvision's GeneralizedRCNNTransform, the shorter side made MinSize
// pixels unless the longer one would have more than MaxSize then, bilinear without antialiasing, scaled to 0..1 and
// normalised with Mean and Std.
type Input struct {
	MinSize int        `json:"min_size"`
	MaxSize int        `json:"max_size"`
	Mean    [3]float64 `json:"mean"`
	Std     [3]float64 `json:"std"`
}

// DefaultInput is that of torchvision's detectors: 800 and 1333 pixels, ImageNet's mean and deviation.
func DefaultInput() Input {
	return Input{MinSize: 800, MaxSize: 1333, Mean: [3]float64{0.485, 0.456, 0.406}, Std: [3]float64{0.229, 0.224, 0.225}}
}

// Divisor is what the sides of a batch's canvas are multiples of.
const Divisor = 32

func (in Input) check() error {
	if in.MinSize < 1 || in.MaxSize < in.MinSize || in.MaxSize > 1<<14 {
		return fmt.Errorf("an input of %d to %d pixels: min_size must be 1 or more, and max_size from min_size to %d",
			in.MinSize, in.MaxSize, 1<<14)
	}
	for c := range in.Std {
		if !(in.Std[c] > 0) || math.IsNaN(in.Mean[c]) || math.IsInf(in.Mean[c], 0) {
			return fmt.Errorf("an input with the mean %v and the standard deviation %v: finite ones, above 0, are needed", in.Mean, in.Std)
		}
	}
	return nil
}

// resized is the size of a picture of so many pixels, its shorter side being made short.
func (in Input) resized(height, width, short int) (int, int) {
	scale := min(float64(short)/float64(min(height, width)), float64(in.MaxSize)/float64(max(height, width)))
	return max(int(math.Floor(float64(height)*scale)), 1), max(int(math.Floor(float64(width)*scale)), 1)
}

// canvas is the least multiple of Divisor.
func canvas(side int) int { return (side + Divisor - 1) / Divisor * Divisor }

// region is a part of a picture, in pixels.
type region struct{ left, top, width, height int }

// drawing is how a picture comes onto a canvas.
type drawing struct {
	part          region // of the stored picture
	height, width int    // that part is made
	flip          bool   // left to right
}

// drawer makes the network's input of pictures. It keeps memory for the next one.
type drawer struct {
	factor, shift [3]float32 // of an 8-bit value
	columns       []tap
	row           []float32
}

func newDrawer(in Input) *drawer {
	d := &drawer{}
	for c := range d.factor {
		d.factor[c] = float32(1 / (255 * in.Std[c]))
		d.shift[c] = float32(-in.Mean[c] / in.Std[c])
	}
	return d
}

// tap is the two source pixels, 3 values each, that make a pixel, and the share of the second.
type tap struct {
	first, second int
	share         float32
}

// tapOf is that of pixel i of to pixels that are made of from, as torch's interpolate(mode="bilinear") chooses them.
func tapOf(i, from, to int) tap {
	at := float32(from) / float32(to) * (float32(i) + 0.5)
	at = max(at-0.5, 0)
	first := min(int(at), from-1)
	return tap{first, min(first+1, from-1), min(max(at-float32(first), 0), 1)}
}

// draw writes the picture into the upper left corner of a canvas of rows of stride values, and leaves the rest as it is.
func (d *drawer) draw(m *picture.Image, how drawing, into []float32, stride int) {
	part := how.part
	d.columns = d.columns[:0]
	for x := range how.width {
		at := x
		if how.flip {
			at = how.width - 1 - x
		}
		t := tapOf(at, part.width, how.width)
		t.first, t.second = 3*t.first, 3*t.second
		d.columns = append(d.columns, t)
	}
	for y := range how.height {
		t := tapOf(y, part.height, how.height)
		above := m.Pix[3*((part.top+t.first)*m.Width+part.left):][:3*part.width]
		below := m.Pix[3*((part.top+t.second)*m.Width+part.left):][:3*part.width]
		line := into[y*stride:][:3*how.width]
		if part.width <= 2*how.width {
			d.blendRows(above, below, t.share)
			d.drawBlended(line)
		} else {
			d.drawDirect(above, below, t.share, line)
		}
	}
}

// blendRows is the first of two passes, where most pixels of the source are read more than once.
func (d *drawer) blendRows(above, below []byte, share float32) {
	if cap(d.row) < len(above) {
		d.row = make([]float32, len(above))
	}
	d.row = d.row[:len(above)]
	below = below[:len(above)]
	for i, a := range above {
		d.row[i] = float32(a) + share*(float32(below[i])-float32(a))
	}
}

// drawBlended is the second.
func (d *drawer) drawBlended(line []float32) {
	f0, f1, f2 := d.factor[0], d.factor[1], d.factor[2]
	s0, s1, s2 := d.shift[0], d.shift[1], d.shift[2]
	for x, t := range d.columns {
		a, b, out := d.row[t.first:][:3], d.row[t.second:][:3], line[3*x:][:3]
		out[0] = (a[0]+t.share*(b[0]-a[0]))*f0 + s0
		out[1] = (a[1]+t.share*(b[1]-a[1]))*f1 + s1
		out[2] = (a[2]+t.share*(b[2]-a[2]))*f2 + s2
	}
}

// drawDirect reads the four pixels of each, where the picture shrinks so much that most are never read.
func (d *drawer) drawDirect(above, below []byte, share float32, line []float32) {
	for x, t := range d.columns {
		for c := range 3 {
			a, b := float32(above[t.first+c]), float32(above[t.second+c])
			p, q := float32(below[t.first+c]), float32(below[t.second+c])
			a += t.share * (b - a)
			p += t.share * (q - p)
			line[3*x+c] = (a+share*(p-a))*d.factor[c] + d.shift[c]
		}
	}
}
