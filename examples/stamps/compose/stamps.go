package main

import (
	"fmt"
	"image"
	"image/color"
	_ "image/png" // stamps
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/image/draw"
)

// classes are what is looked for: stamps by path, without the ending, and patterns of stamps that are too much like
// them to be in the pictures that a network is pre-trained on.
var classes = []struct {
	name   string
	stamps []string
	alike  []string
}{
	{"apple", []string{
		"food/fruit/apple_fuji", "food/fruit/apple_granny_smith", "food/fruit/apple_green", "food/fruit/apple_red",
		"food/fruit/apple_sierra_beauty",
	}, []string{"food/fruit/cartoon/apple*"}},
	{"big cat", []string{
		"animals/mammals/cats/lion", "animals/mammals/cats/lion-2", "animals/mammals/cats/tiger",
		"animals/mammals/cats/tiger_sumatran",
	}, []string{"animals/mammals/cats/cartoon/*"}},
	{"car", []string{"vehicles/auto/beetle", "vehicles/auto/sedan", "vehicles/auto/sportscar2"}, []string{
		"vehicles/auto/*", "vehicles/emergency/sedan*", "vehicles/race/*",
	}},
	{"guitar", []string{
		"hobbies/music/string/guitar2", "hobbies/music/string/guitar_classical", "hobbies/music/string/guitar_electric",
		"hobbies/music/string/guitar_electric_bass",
	}, nil},
	{"mushroom", []string{"plants/mushrooms/cep", "plants/mushrooms/cep-1", "plants/mushrooms/cep-2"}, []string{
		"food/vegetables/mushroom",
	}},
	{"penguin", []string{
		"animals/birds/little-penguin", "animals/birds/magellanic_penguin", "animals/birds/penguin",
	}, []string{"animals/birds/cartoon/*", "vehicles/farming/cartoon/*"}},
}

// keptSide is what the longer side of a stamp is reduced to, in pixels: more is never asked for.
const keptSide = 160

// opaque is the alpha from which a stamp's pixel counts as seen: shadows and soft edges are below.
const opaque = 96

// stamp is a photograph, cut to what is to be seen of it.
type stamp struct {
	name  string // the path without the ending
	image *image.NRGBA
}

// library is what pictures are composed of.
type library struct {
	classes [][]stamp // by the position in classes
	others  []stamp   // each is a class to pre-train on
}

// openStamps reads all stamps of a folder.
func openStamps(folder string) (*library, error) {
	l := &library{classes: make([][]stamp, len(classes))}
	found := map[string]bool{}
	root := folder + string(filepath.Separator) // with which WalkDir follows a link
	err := filepath.WalkDir(root, func(file string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || filepath.Ext(file) != ".png" {
			return err
		}
		relative, err := filepath.Rel(folder, file)
		if err != nil {
			return err
		}
		name := strings.TrimSuffix(filepath.ToSlash(relative), ".png")
		class, other := classOf(name)
		if class < 0 && !other {
			return nil
		}
		m, err := readStamp(file)
		if err != nil {
			return err
		}
		if class >= 0 {
			found[name] = true
			l.classes[class] = append(l.classes[class], stamp{name, m})
		} else if usable(m) {
			l.others = append(l.others, stamp{name, m})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%w (make stamps brings the stamps)", err)
	}
	for _, c := range classes {
		for _, name := range c.stamps {
			if !found[name] {
				return nil, fmt.Errorf("%s: there is no %s.png (make stamps brings the stamps)", folder, name)
			}
		}
	}
	if len(l.others) < 2 {
		return nil, fmt.Errorf("%s: there are no stamps of other classes (make stamps brings the stamps)", folder)
	}
	return l, nil
}

// classOf is the class of a stamp, -1 for none; other tells that it may be pre-trained on.
func classOf(name string) (class int, other bool) {
	for i, c := range classes {
		if slices.Contains(c.stamps, name) {
			return i, false
		}
	}
	for _, c := range classes {
		for _, pattern := range c.alike {
			if ok, _ := path.Match(pattern, name); ok {
				return -1, false
			}
		}
	}
	return -1, !strings.HasSuffix(name, "_mirror") // which are of another stamp
}

// usable tells stamps that are large enough, neither a full rectangle nor hardly there.
func usable(m *image.NRGBA) bool {
	all, seen := m.Rect.Dx()*m.Rect.Dy(), 0
	for i := 3; i < len(m.Pix); i += 4 {
		if m.Pix[i] >= opaque {
			seen++
		}
	}
	return max(m.Rect.Dx(), m.Rect.Dy()) >= 40 && seen > all/10 && seen < all*97/100
}

// readStamp decodes a stamp, cuts it to its opaque pixels and reduces it to keptSide.
func readStamp(path string) (*image.NRGBA, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	m, _, err := image.Decode(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	part := seenPart(m)
	if part.Empty() {
		return image.NewNRGBA(image.Rectangle{}), nil
	}
	return resized(m, part, min(keptSide, max(part.Dx(), part.Dy()))), nil
}

// seenPart is the smallest rectangle with all opaque pixels of a picture.
func seenPart(m image.Image) (part image.Rectangle) {
	b := m.Bounds()
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			if _, _, _, a := m.At(x, y).RGBA(); a >= opaque*0x101 {
				part = part.Union(image.Rect(x, y, x+1, y+1))
			}
		}
	}
	return part
}

// resized is a part of a picture, its longer side made so many pixels, with a filter that averages what it reduces.
func resized(m image.Image, part image.Rectangle, side int) *image.NRGBA {
	longer := max(part.Dx(), part.Dy())
	size := func(n int) int { return max((n*side+longer/2)/longer, 1) }
	out := image.NewNRGBA(image.Rect(0, 0, size(part.Dx()), size(part.Dy())))
	draw.BiLinear.Scale(out, out.Rect, m, part, draw.Src, nil)
	return out
}

// look is how a stamp is put into a picture.
type look struct {
	side   int  // of the longer side, pixels
	flip   bool // left to right
	bright float64
}

// placed is a stamp in its final size.
func (s stamp) placed(l look) *image.NRGBA {
	out := resized(s.image, s.image.Rect, l.side)
	w, h := out.Rect.Dx(), out.Rect.Dy()
	for y := range h {
		for x := range w {
			c := out.NRGBAAt(x, y)
			c.R, c.G, c.B = brightened(c.R, l.bright), brightened(c.G, l.bright), brightened(c.B, l.bright)
			out.SetNRGBA(x, y, c)
		}
		if l.flip {
			for x := range w / 2 {
				a, b := out.NRGBAAt(x, y), out.NRGBAAt(w-1-x, y)
				out.SetNRGBA(x, y, b)
				out.SetNRGBA(w-1-x, y, a)
			}
		}
	}
	return out
}

func brightened(v uint8, by float64) uint8 { return uint8(min(float64(v)*by+0.5, 255)) }

// over blends a pixel of a stamp over what is there.
func over(below color.RGBA, c color.NRGBA) color.RGBA {
	mix := func(a, b uint8) uint8 { return uint8((int(a)*(255-int(c.A)) + int(b)*int(c.A) + 127) / 255) }
	return color.RGBA{mix(below.R, c.R), mix(below.G, c.G), mix(below.B, c.B), 255}
}
