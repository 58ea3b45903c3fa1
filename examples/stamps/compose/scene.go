package main

import (
	"image"
	"math"
	"math/rand/v2"
)

// object is a stamp in a picture.
type object struct {
	class int
	box   image.Rectangle // all of the stamp that is inside the picture, also what others hide
	area  int             // pixels of it that are to be seen
}

// scene is a picture with its objects.
type scene struct {
	image   *image.RGBA
	objects []object
	owners  []int // by pixel: the object that is to be seen there, -1 for the ground
	whole   []int // by object: its opaque pixels, also those outside of the picture
}

// Limits of scenes.
const (
	leastVisible        = 0.6     // of a stamp
	leastSide, mostSide = 64, 116 // of a stamp's longer side, pixels
	without             = 0.06    // of the pictures have no stamp
	tries               = 40      // to place a stamp
)

// newScene composes a picture of about 240 x 180 pixels and up to 4 stamps. next gives the class of each.
func newScene(l *library, rng *rand.Rand, next func() int) *scene {
	width, height := 230+rng.IntN(17), 174+rng.IntN(13)
	s := &scene{image: ground(rng, width, height), owners: make([]int, width*height)}
	for i := range s.owners {
		s.owners[i] = -1
	}
	if rng.Float64() < without {
		return s
	}
	for range 1 + max(rng.IntN(4), rng.IntN(4)) {
		class := next()
		of := l.classes[class]
		s.place(class, of[rng.IntN(len(of))], rng)
	}
	return s
}

// place puts a stamp where enough of it and of those before it is to be seen; with no such place after some tries it is
// left out.
func (s *scene) place(class int, st stamp, rng *rand.Rand) {
	span := math.Log(float64(mostSide) / leastSide)
	for range tries {
		m := st.placed(randomLook(rng, int(leastSide*math.Exp(rng.Float64()*span))))
		w, h := m.Rect.Dx(), m.Rect.Dy()
		beyond := func(side, room int) int { // up to a fifth of it outside on either side
			return rng.IntN(max(room-side+2*(side/5), 1)) - side/5
		}
		if s.put(class, m, image.Pt(beyond(w, s.image.Rect.Dx()), beyond(h, s.image.Rect.Dy()))) {
			return
		}
	}
}

func randomLook(rng *rand.Rand, side int) look {
	return look{side: side, flip: rng.IntN(2) == 0, bright: 0.75 + 0.5*rng.Float64()}
}

// put draws a stamp at a place unless too little of something would be left to be seen.
func (s *scene) put(class int, m *image.NRGBA, at image.Point) bool {
	width := s.image.Rect.Dx()
	covers := make([]int, len(s.objects)) // pixels of the objects before
	whole, inside, box := 0, 0, image.Rectangle{}
	each := func(visit func(p, from image.Point)) {
		for y := range m.Rect.Dy() {
			for x := range m.Rect.Dx() {
				visit(image.Pt(x, y).Add(at), image.Pt(x, y))
			}
		}
	}
	seen := func(p, from image.Point) bool { return m.NRGBAAt(from.X, from.Y).A >= opaque && p.In(s.image.Rect) }
	each(func(p, from image.Point) {
		if m.NRGBAAt(from.X, from.Y).A >= opaque {
			whole++
		}
		if !seen(p, from) {
			return
		}
		inside++
		box = box.Union(image.Rectangle{Min: p, Max: p.Add(image.Pt(1, 1))})
		if owner := s.owners[p.Y*width+p.X]; owner >= 0 {
			covers[owner]++
		}
	})
	if float64(inside) < leastVisible*float64(whole) || inside == 0 {
		return false
	}
	for i, n := range covers {
		if float64(s.objects[i].area-n) < leastVisible*float64(s.whole[i]) {
			return false
		}
	}
	for i, n := range covers {
		s.objects[i].area -= n
	}
	each(func(p, from image.Point) {
		if p.In(s.image.Rect) {
			s.image.SetRGBA(p.X, p.Y, over(s.image.RGBAAt(p.X, p.Y), m.NRGBAAt(from.X, from.Y)))
		}
		if seen(p, from) {
			s.owners[p.Y*width+p.X] = len(s.objects)
		}
	})
	s.objects = append(s.objects, object{class, box, inside})
	s.whole = append(s.whole, whole)
	return true
}
