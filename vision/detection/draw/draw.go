// Package draw draws boxes with their class and score into pictures.
package draw

import (
	"fmt"
	"image"
	"image/color"
	stddraw "image/draw"
	"image/jpeg"
	"image/png"
	"io"
	"math"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/gomedium"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"

	"github.com/thaw-ml/thaw/internal/atomicfile"
	"github.com/thaw-ml/thaw/vision/picture"
)

// Box is what is drawn.
type Box struct {
	X1, Y1, X2, Y2 float64 // edges in pixels of the picture
	Class          int     // of which the colour is taken
	Label          string  // above the box; "" for none
	// Truth draws the box dashed, and its label at the box's lower edge.
	Truth bool
}

// Label is a class and a score as they stand above a box: "dog 0.93".
func Label(class string, score float64) string { return fmt.Sprintf("%s %.2f", class, score) }

// Boxes returns a copy of img with boxes drawn over it, the later ones over the earlier. The lines' width and the
// text's size grow with the picture. Each line has a dark and a light edge, so that it is seen on any ground, and
// each label a ground of its own. Boxes that are not finite or lie outside the picture are left out.
func Boxes(img image.Image, boxes []Box) *image.RGBA {
	b := img.Bounds()
	c := &canvas{RGBA: image.NewRGBA(image.Rect(0, 0, b.Dx(), b.Dy()))}
	stddraw.Draw(c, c.Bounds(), img, b.Min, stddraw.Src)
	side := float64(min(b.Dx(), b.Dy()))
	c.width = max(1, int(math.Round(side/250)))
	c.setFont(min(max(side/32, 11), 48))
	defer c.face.Close()
	for i := range boxes { // lines first, so that none crosses a label
		if r, ok := c.edges(&boxes[i]); ok {
			c.frame(r, Color(boxes[i].Class), boxes[i].Truth)
		}
	}
	for i := range boxes {
		if r, ok := c.edges(&boxes[i]); ok && boxes[i].Label != "" {
			c.label(r, &boxes[i])
		}
	}
	return c.RGBA
}

// Write draws boxes into a picture and writes it to a file, whole or not at all: PNG, or JPEG where the name ends in
// .jpg or .jpeg.
func Write(path string, m *picture.Image, boxes []Box) error {
	img := Boxes(Image(m), boxes)
	return atomicfile.Write(path, func(w io.Writer) error {
		switch ext := strings.ToLower(filepath.Ext(path)); ext {
		case ".png":
			return png.Encode(w, img)
		case ".jpg", ".jpeg":
			return jpeg.Encode(w, img, &jpeg.Options{Quality: 92})
		default:
			return fmt.Errorf("cannot draw to a %q file: want .png or .jpg", ext)
		}
	})
}

// Image is a picture as package image has it.
func Image(m *picture.Image) *image.RGBA {
	img := image.NewRGBA(image.Rect(0, 0, m.Width, m.Height))
	for i := 0; i+2 < len(m.Pix); i += 3 {
		copy(img.Pix[i/3*4:], m.Pix[i:i+3])
		img.Pix[i/3*4+3] = 255
	}
	return img
}

// Color is the colour of a class: bright, and far from that of the classes before it. Hues go round by the golden
// section, and lightness changes from one round to the next.
func Color(class int) color.RGBA {
	const golden = 0.6180339887498949
	_, hue := math.Modf(0.02 + float64(class&0xffff)*golden)
	lightness := [...]float64{0.55, 0.45, 0.65}[class&0xffff/7%3]
	return hsl(hue, 0.9, lightness)
}

// hsl converts hue, saturation and lightness, each from 0 to 1 (CSS Color Module Level 4, section 7.1).
func hsl(h, s, l float64) color.RGBA {
	channel := func(n float64) uint8 {
		k := math.Mod(n+h*12, 12)
		v := l - s*min(l, 1-l)*max(-1, min(k-3, 9-k, 1))
		return uint8(math.Round(255 * v))
	}
	return color.RGBA{channel(0), channel(8), channel(4), 255}
}

// onColor is the text's colour on a ground: the one of black and white with more contrast (WCAG 2's luminance).
func onColor(c color.RGBA) color.Color {
	linear := func(v uint8) float64 {
		x := float64(v) / 255
		if x <= 0.04045 {
			return x / 12.92
		}
		return math.Pow((x+0.055)/1.055, 2.4)
	}
	if 0.2126*linear(c.R)+0.7152*linear(c.G)+0.0722*linear(c.B) > 0.179 {
		return color.Black
	}
	return color.White
}

// canvas is the picture that is drawn into.
type canvas struct {
	*image.RGBA
	width int // of lines, without their edges
	face  font.Face
	dash  image.Point // where the box's dashes begin, so that those of its lines and of their edges lie side by side
}

var parsed = sync.OnceValue(func() *opentype.Font {
	f, err := opentype.Parse(gomedium.TTF)
	if err != nil {
		panic(err) // the font is part of the program
	}
	return f
})

func (c *canvas) setFont(size float64) {
	var err error
	c.face, err = opentype.NewFace(parsed(), &opentype.FaceOptions{Size: size, DPI: 72, Hinting: font.HintingFull})
	if err != nil {
		panic(err) // no size is wrong
	}
}

// edges are a box's pixels. false: it is not to be seen.
func (c *canvas) edges(b *Box) (image.Rectangle, bool) {
	size := c.Bounds().Max
	for _, v := range [...]float64{b.X1, b.Y1, b.X2, b.Y2} {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return image.Rectangle{}, false
		}
	}
	w, h := float64(size.X), float64(size.Y)
	if b.X1 >= w || b.Y1 >= h || b.X2 <= 0 || b.Y2 <= 0 || b.X2 < b.X1 || b.Y2 < b.Y1 {
		return image.Rectangle{}, false
	}
	round := func(v, most float64) int { return int(math.Round(min(max(v, 0), most))) }
	r := image.Rect(round(b.X1, w), round(b.Y1, h), round(b.X2, w), round(b.Y2, h))
	if r.Dx() == 0 {
		r.Min.X = min(r.Min.X, size.X-1)
		r.Max.X = r.Min.X + 1
	}
	if r.Dy() == 0 {
		r.Min.Y = min(r.Min.Y, size.Y-1)
		r.Max.Y = r.Min.Y + 1
	}
	return r, true
}

// frame draws a box's lines, centred on its edges.
func (c *canvas) frame(r image.Rectangle, colour color.RGBA, dashed bool) {
	out := c.width / 2
	outer := r.Inset(-out)
	c.dash = outer.Min
	under := color.RGBA{0, 0, 0, 150}
	light := color.RGBA{150, 150, 150, 150} // white, premultiplied
	c.ring(outer.Inset(-1), 1, under, dashed)
	c.ring(outer.Inset(c.width), 1, light, dashed)
	c.ring(outer, c.width, colour, dashed)
}

// ring draws the outermost pixels of r.
func (c *canvas) ring(r image.Rectangle, width int, colour color.Color, dashed bool) {
	if r.Dx() <= 0 || r.Dy() <= 0 {
		return
	}
	width = min(width, (r.Dx()+1)/2, (r.Dy()+1)/2)
	horizontal := func(y int) {
		c.line(r.Min.X, r.Max.X, c.dash.X, dashed, func(a, b int) { c.fill(image.Rect(a, y, b, y+width), colour) })
	}
	vertical := func(x int) {
		c.line(r.Min.Y+width, r.Max.Y-width, c.dash.Y, dashed, func(a, b int) {
			c.fill(image.Rect(x, a, x+width, b), colour)
		})
	}
	horizontal(r.Min.Y)
	if r.Dy() > width {
		horizontal(r.Max.Y - width)
	}
	vertical(r.Min.X)
	if r.Dx() > width {
		vertical(r.Max.X - width)
	}
}

// line calls draw for a line from a to b, or for each of its dashes, one of which begins at origin.
func (c *canvas) line(a, b, origin int, dashed bool, draw func(a, b int)) {
	if !dashed {
		draw(a, b)
		return
	}
	dash := 4 * (c.width + 1)
	for at := origin - 2*dash; at < b; at += 2 * dash {
		if from, to := max(at, a), min(at+dash, b); from < to {
			draw(from, to)
		}
	}
}

func (c *canvas) fill(r image.Rectangle, colour color.Color) {
	stddraw.Draw(c, r, image.NewUniform(colour), image.Point{}, stddraw.Over)
}

// label writes a box's label above its upper edge, or inside where there is no room; a truth's below its lower edge.
func (c *canvas) label(r image.Rectangle, b *Box) {
	const longest = 60 // characters
	text := []rune(b.Label)
	if len(text) > longest {
		text = append(text[:longest-3], []rune("...")...)
	}
	metrics := c.face.Metrics()
	pad := max(c.width, 2)
	width := font.MeasureString(c.face, string(text)).Ceil() + 2*pad
	height := (metrics.Ascent + metrics.Descent).Ceil() + pad
	size := c.Bounds().Max
	out := c.width/2 + 1
	at := image.Pt(r.Min.X-out, r.Min.Y-out-height)
	if b.Truth {
		at.Y = r.Max.Y + out
		if at.Y+height > size.Y {
			at.Y = r.Max.Y + out - height - c.width
		}
	} else if at.Y < 0 {
		at.Y = r.Min.Y + out
	}
	at.X = max(0, min(at.X, size.X-width))
	at.Y = max(0, min(at.Y, size.Y-height))
	ground := Color(b.Class)
	plate := image.Rectangle{at, at.Add(image.Pt(width, height))}
	c.fill(plate.Inset(-1), color.RGBA{0, 0, 0, 150})
	c.fill(plate, ground)
	d := font.Drawer{Dst: c, Src: image.NewUniform(onColor(ground)), Face: c.face,
		Dot: fixed.P(at.X+pad, at.Y+pad/2+metrics.Ascent.Ceil())}
	d.DrawString(string(text))
}
