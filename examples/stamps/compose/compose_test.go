package main

import (
	"image"
	"image/color"
	"image/png"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/vision/detection/annotation"
)

// disc is a stamp: an ellipse with a transparent ground of 3 pixels around it.
func disc(width, height int, c color.NRGBA) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, width+6, height+6))
	for y := range height {
		for x := range width {
			u, v := (float64(x)+0.5)/float64(width)*2-1, (float64(y)+0.5)/float64(height)*2-1
			if u*u+v*v <= 1 {
				m.SetNRGBA(x+3, y+3, c)
			}
		}
	}
	return m
}

// standIns leaves stamps where those of the Debian package would be.
func standIns(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	write := func(name string, m image.Image) {
		path := filepath.Join(folder, filepath.FromSlash(name)+".png")
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o777))
		f, err := os.Create(path)
		require.NoError(t, err)
		require.NoError(t, png.Encode(f, m))
		require.NoError(t, f.Close())
	}
	for i, c := range classes {
		for k, name := range c.stamps {
			write(name, disc(60+20*k, 80+3*i, color.NRGBA{uint8(20 * i), uint8(255 - 20*i), uint8(60 * k), 255}))
		}
	}
	for _, name := range []string{"animals/fish/shrimp", "household/key", "vehicles/wheel"} {
		write(name, disc(90, 50, color.NRGBA{200, 90, 30, 255}))
	}
	write("household/key_mirror", disc(90, 50, color.NRGBA{200, 90, 30, 255}))
	write("vehicles/race/indycar", disc(50, 50, color.NRGBA{200, 90, 30, 255}))
	square := image.NewNRGBA(image.Rect(0, 0, 60, 60)) // without a transparent ground
	for i := range square.Pix {
		square.Pix[i] = 255
	}
	write("town/sign", square)
	return folder
}

// contents are a folder's files.
func contents(t *testing.T, folder string) map[string]string {
	t.Helper()
	files := map[string]string{}
	require.NoError(t, filepath.WalkDir(folder, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		relative, _ := filepath.Rel(folder, path)
		files[filepath.ToSlash(relative)] = string(data)
		return err
	}))
	return files
}

func TestCompose(t *testing.T) {
	o := options{stamps: standIns(t), out: filepath.Join(t.TempDir(), "composed"), seed: 1, train: 12, test: 4, each: 2}
	require.NoError(t, compose(o))
	first := contents(t, o.out)
	assert.Len(t, first, 12+4+2+3*2, "pictures, two annotation files, and two pictures of each of three other classes")
	assert.Contains(t, first, "pretrain/household-key/01.jpg")
	require.NoError(t, compose(o))
	assert.Equal(t, first, contents(t, o.out), "the same seed, the same bytes")
	left, err := os.ReadDir(filepath.Dir(o.out))
	require.NoError(t, err)
	assert.Len(t, left, 1, "nothing is left beside it")
	o.seed = 2
	require.NoError(t, compose(o))
	assert.NotEqual(t, first["train/001.jpg"], contents(t, o.out)["train/001.jpg"])

	for name, pictures := range map[string]int{"train": 12, "test": 4} {
		set, err := annotation.Open(filepath.Join(o.out, name+".json"), annotation.Options{})
		require.NoError(t, err, "no box has a fault")
		assert.Equal(t, pictures, set.Len())
		assert.Len(t, set.Classes, len(classes))
		assert.Positive(t, set.Boxes())
	}
}

func TestComposeSaysWhatIsMissing(t *testing.T) {
	folder := standIns(t)
	o := options{stamps: folder, out: filepath.Join(t.TempDir(), "composed"), seed: 1, train: 1, test: 1, each: 1}
	require.NoError(t, os.Remove(filepath.Join(folder, "plants", "mushrooms", "cep.png")))
	assert.ErrorContains(t, compose(o), "there is no plants/mushrooms/cep.png (make stamps brings the stamps)")
	assert.NoDirExists(t, o.out)
	o.stamps = filepath.Join(folder, "nowhere")
	assert.ErrorContains(t, compose(o), "make stamps brings the stamps")
	o.stamps, o.out = standIns(t), t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(o.out, "letter.txt"), nil, 0o666))
	assert.ErrorContains(t, compose(o), "holds letter.txt")
	assert.FileExists(t, filepath.Join(o.out, "letter.txt"))
}

// A box goes around what is opaque and inside the picture; what would hide too much of something is not put there.
func TestBoxesAreTight(t *testing.T) {
	s := &scene{image: image.NewRGBA(image.Rect(0, 0, 100, 80)), owners: make([]int, 100*80)}
	for i := range s.owners {
		s.owners[i] = -1
	}
	red := disc(30, 20, color.NRGBA{255, 0, 0, 255})
	require.True(t, s.put(4, red, image.Pt(10, 5)))
	assert.Equal(t, image.Rect(13, 8, 43, 28), s.objects[0].box)
	area := s.objects[0].area
	assert.InDelta(t, 3.14159*15*10, area, 12)
	assert.Equal(t, color.RGBA{255, 0, 0, 255}, s.image.RGBAAt(28, 18))
	assert.Equal(t, color.RGBA{A: 255}, s.image.RGBAAt(11, 6), "the ground is seen around it")

	blue := disc(30, 20, color.NRGBA{0, 0, 255, 255})
	assert.False(t, s.put(5, blue, image.Pt(14, 7)), "nearly all of the first would be hidden")
	assert.Len(t, s.objects, 1)
	require.True(t, s.put(5, blue, image.Pt(30, 5)))
	assert.Less(t, s.objects[0].area, area, "what is hidden does not count")
	assert.Equal(t, image.Rect(13, 8, 43, 28), s.objects[0].box, "the box is of all of it")

	assert.False(t, s.put(6, red, image.Pt(-20, 40)), "more than half would be outside")
	require.True(t, s.put(6, red, image.Pt(-10, 40)))
	assert.Equal(t, image.Rect(0, 43, 23, 63), s.objects[2].box)
}

func TestStampsAreCutAndTurned(t *testing.T) {
	m := disc(400, 200, color.NRGBA{100, 100, 100, 255})
	for y := range 200 {
		m.SetNRGBA(3, y+3, color.NRGBA{200, 0, 0, 255}) // a left edge
	}
	part := seenPart(m)
	assert.Equal(t, image.Rect(3, 3, 403, 203), part)
	s := stamp{"x", resized(m, part, keptSide)}
	assert.Equal(t, image.Rect(0, 0, 160, 80), s.image.Rect)
	plain, turned := s.placed(look{side: 80, bright: 1}), s.placed(look{side: 80, flip: true, bright: 1})
	assert.Equal(t, image.Rect(0, 0, 80, 40), plain.Rect)
	assert.Equal(t, plain.NRGBAAt(0, 20), turned.NRGBAAt(79, 20))
	assert.Greater(t, plain.NRGBAAt(0, 20).R, plain.NRGBAAt(79, 20).R)
	assert.Equal(t, uint8(50), s.placed(look{side: 80, bright: 0.5}).NRGBAAt(40, 20).G)
}

func TestClassesHaveNoStampTwice(t *testing.T) {
	seen := map[string]bool{}
	for i, c := range classes {
		for _, name := range c.stamps {
			assert.False(t, seen[name], name)
			seen[name] = true
			class, other := classOf(name)
			assert.Equal(t, i, class)
			assert.False(t, other)
			assert.False(t, strings.HasSuffix(name, ".png"))
		}
	}
}

func TestGroundsVary(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for i, make := range grounds {
		f := make(rng)
		low, high := 1.0, 0.0
		for y := range 60 {
			for x := range 80 {
				v := min(max(f(float64(x), float64(y)), 0), 1)
				low, high = min(low, v), max(high, v)
			}
		}
		if i > 0 { // the first is flat
			assert.Greater(t, high-low, 0.2, "ground %d", i)
		}
	}
}
