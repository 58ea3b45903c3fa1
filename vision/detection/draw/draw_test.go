package draw

import (
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/vision/picture"
)

func uniform(w, h int, v byte) *picture.Image {
	m := &picture.Image{Width: w, Height: h, Pix: make([]byte, 3*w*h)}
	for i := range m.Pix {
		m.Pix[i] = v
	}
	return m
}

// differ is the rectangle of the pixels that are not those of a ground.
func differ(img *image.RGBA, ground byte) (r image.Rectangle) {
	for y := range img.Bounds().Dy() {
		for x := range img.Bounds().Dx() {
			if c := img.RGBAAt(x, y); c != (color.RGBA{ground, ground, ground, 255}) {
				r = r.Union(image.Rect(x, y, x+1, y+1))
			}
		}
	}
	return r
}

func TestBoxIsWhereItIs(t *testing.T) {
	for _, ground := range []byte{0, 128, 255} {
		img := Boxes(Image(uniform(200, 150, ground)), []Box{{X1: 20, Y1: 30, X2: 120, Y2: 90, Class: 3}})
		assert.Equal(t, Color(3), img.RGBAAt(20, 60))
		assert.Equal(t, Color(3), img.RGBAAt(119, 60))
		assert.Equal(t, Color(3), img.RGBAAt(60, 30))
		assert.Equal(t, Color(3), img.RGBAAt(60, 89))
		assert.Equal(t, color.RGBA{ground, ground, ground, 255}, img.RGBAAt(60, 60), "the inside stays")
		changed := differ(img, ground)
		assert.True(t, changed.In(image.Rect(19, 29, 121, 91)) && image.Rect(20, 30, 120, 90).In(changed), "%v", changed)
	}
}

func TestLabels(t *testing.T) {
	place := func(b Box) image.Rectangle {
		b.Label = Label("dog", 0.934)
		with, without := Boxes(Image(uniform(300, 200, 90)), []Box{b}), Image(uniform(300, 200, 90))
		b.Label = ""
		without = Boxes(without, []Box{b})
		var r image.Rectangle
		for y := range 200 {
			for x := range 300 {
				if with.RGBAAt(x, y) != without.RGBAAt(x, y) {
					r = r.Union(image.Rect(x, y, x+1, y+1))
				}
			}
		}
		assert.Greater(t, r.Dx(), 40)
		assert.Greater(t, r.Dy(), 10)
		return r
	}
	assert.Equal(t, "dog 0.93", Label("dog", 0.934))
	assert.LessOrEqual(t, place(Box{X1: 50, Y1: 60, X2: 150, Y2: 120}).Max.Y, 60, "above")
	assert.GreaterOrEqual(t, place(Box{X1: 50, Y1: 3, X2: 150, Y2: 120}).Min.Y, 3, "inside, where there is no room above")
	assert.GreaterOrEqual(t, place(Box{X1: 50, Y1: 60, X2: 150, Y2: 120, Truth: true}).Min.Y, 120, "a truth's below")
	assert.LessOrEqual(t, place(Box{X1: 290, Y1: 60, X2: 299, Y2: 120}).Max.X, 300, "not out of the picture")
}

func TestTruthIsDashed(t *testing.T) {
	img := Boxes(Image(uniform(200, 150, 0)), []Box{{X1: 20, Y1: 30, X2: 180, Y2: 90, Truth: true}})
	on, off := 0, 0
	for x := 20; x < 180; x++ {
		if img.RGBAAt(x, 30) == Color(0) {
			on++
		} else {
			off++
		}
	}
	assert.InDelta(t, on, off, 20)
}

// Colours of neighbours are told apart, and text on them is read.
func TestColors(t *testing.T) {
	for a := range 12 {
		for b := range a {
			x, y := Color(a), Color(b)
			channel := func(v, w uint8) float64 { return math.Abs(float64(v) - float64(w)) }
			apart := channel(x.R, y.R) + channel(x.G, y.G) + channel(x.B, y.B)
			assert.Greater(t, apart, 50., "%d %d", a, b)
		}
	}
	assert.Equal(t, Color(3), Color(3))
	Color(-1)
	Color(math.MinInt)
}

func TestWhatCannotBeDrawn(t *testing.T) {
	inf, nan := math.Inf(1), math.NaN()
	boxes := []Box{{X1: nan, X2: 5, Y2: 5}, {X1: -inf, X2: inf, Y2: 5}, {X1: 300, X2: 400, Y2: 5}, {X1: 5, X2: 1, Y2: 5}}
	img := Boxes(Image(uniform(20, 20, 7)), boxes)
	assert.True(t, differ(img, 7).Empty())
	for _, b := range []Box{{X1: -1e300, Y1: -1e300, X2: 1e300, Y2: 1e300, Label: strings.Repeat("é", 1000)}, {X1: 3, Y1: 3, X2: 3, Y2: 3},
		{X1: 20 - 1e-9, Y1: 19.9999, X2: 25, Y2: 25, Label: "\xff\x00\n世界"}} {
		assert.False(t, differ(Boxes(Image(uniform(20, 20, 7)), []Box{b}), 7).Empty())
	}
	assert.NotPanics(t, func() { Boxes(image.NewGray(image.Rect(0, 0, 1, 1)), []Box{{X2: 1, Y2: 1, Label: "x"}}) })
	assert.NotPanics(t, func() { Boxes(image.NewGray(image.Rectangle{}), []Box{{X2: 1, Y2: 1, Label: "x"}}) })
}

func TestWrite(t *testing.T) {
	folder := t.TempDir()
	for name, decode := range map[string]func(f *os.File) (image.Image, error){
		"a.png": func(f *os.File) (image.Image, error) { return png.Decode(f) },
		"a.JPG": func(f *os.File) (image.Image, error) { return jpeg.Decode(f) },
	} {
		path := filepath.Join(folder, name)
		require.NoError(t, Write(path, uniform(30, 20, 200), []Box{{X1: 2, Y1: 2, X2: 20, Y2: 15}}))
		f, err := os.Open(path)
		require.NoError(t, err)
		img, err := decode(f)
		require.NoError(t, err)
		assert.Equal(t, image.Pt(30, 20), img.Bounds().Size())
		f.Close()
	}
	require.ErrorContains(t, Write(filepath.Join(folder, "a.bmp"), uniform(3, 2, 0), nil), `a.bmp: cannot draw to a ".bmp" file: want .png or .jpg`)
	entries, _ := os.ReadDir(folder)
	assert.Len(t, entries, 2)
}
