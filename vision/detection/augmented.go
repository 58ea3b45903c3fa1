package detection

import (
	"image"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/thaw-ml/thaw/vision/detection/annotation"
	"github.com/thaw-ml/thaw/vision/detection/augment"
	"github.com/thaw-ml/thaw/vision/picture"
	"github.com/thaw-ml/thaw/vision/transform"
)

// augmentation is what happens to training pictures, in the order of the fields.
type augmentation struct {
	distort bool // augment.PhotometricDistort
	zoomOut bool // augment.ZoomOut
	crop    bool // augment.IoUCrop
	jitter  bool // augment.ScaleJitter and FixedCrop
	sizes   bool // multiscaleSizes in place of one size
	flip    bool
}

// augmentations are the values of DatasetOptions.Augment, the default first: those of torchvision's references (whose
// hflip is flip), and none.
var augmentations = []struct {
	name string
	does augmentation
}{
	{"flip", augmentation{flip: true}},
	{"multiscale", augmentation{sizes: true, flip: true}},
	{"lsj", augmentation{jitter: true, flip: true}},
	{"ssd", augmentation{distort: true, zoomOut: true, crop: true, flip: true}},
	{"ssdlite", augmentation{crop: true, flip: true}},
	{"none", augmentation{}},
}

// Augmentations lists what DatasetOptions.Augment may be, the default first.
func Augmentations() (names []string) {
	for _, a := range augmentations {
		names = append(names, a.name)
	}
	return names
}

// augmentation is that of the options.
func (o *DatasetOptions) augmentation() augmentation {
	for _, a := range augmentations {
		if a.name == o.Augment {
			a.does.distort = a.does.distort || o.Distort
			return a.does
		}
	}
	return augmentation{distort: o.Distort}
}

// random reports whether training pictures are changed at random.
func (o *DatasetOptions) random() bool {
	return o.augmentation() != augmentation{} || len(o.MinSizes) > 1
}

// multiscaleSizes are the shorter sides of torchvision's multiscale, 480, 512, .. 800, or the same shares of another
// size than 800.
func multiscaleSizes(short int) []int {
	var sizes []int
	for s := 480; s <= 800; s += 32 {
		sizes = append(sizes, max(1, short*s/800))
	}
	return slices.Compact(sizes)
}

// augmented draws what is random of a training picture. boxes are those to be found, in pixels of the stored picture, and
// come back as those that are left.
func (d *Dataset) augmented(s *sample, epoch int, boxes []annotation.Box) []annotation.Box {
	rng := rand.New(rand.NewPCG(d.options.Seed, uint64(epoch)<<40|uint64(s.index)))
	does := d.options.augmentation()
	short := d.options.MinSizes[rng.IntN(len(d.options.MinSizes))]
	s.how.flip = does.flip && rng.IntN(2) == 0
	stored := image.Rect(0, 0, s.size.OriginalWidth, s.size.OriginalHeight)
	shown := stored // what is seen, which may be more than the picture
	if does.zoomOut {
		shown = augment.ZoomOut{}.Canvas(rng, stored.Dx(), stored.Dy())
	}
	if does.crop {
		moved := augment.Pad(boxes, -shown.Min.X, -shown.Min.Y)
		if part, keep, err := (augment.IoUCrop{}).Part(rng, moved, shown.Dx(), shown.Dy()); err == nil {
			shown, boxes = part.Add(shown.Min), augment.Keep(boxes, keep)
		}
	}
	height, width := d.input.resized(shown.Dy(), shown.Dx(), short)
	if does.jitter {
		shown, height, width = d.jittered(rng, shown, height, width)
	}
	if does.distort {
		s.colour, _ = transform.NewPlan(stored.Dx(), stored.Dy())
		if s.colour != nil {
			_ = augment.PhotometricDistort{}.Draw(s.colour, rng) // the defaults are no wrong settings
		}
	}
	s.place(shown, height, width)
	return boxes
}

// jittered draws the part of what is shown that is seen at a random scale, on a canvas no larger than the one without.
func (d *Dataset) jittered(rng *rand.Rand, shown image.Rectangle, height, width int) (image.Rectangle, int, int) {
	w, h, err := augment.ScaleJitter{Width: width, Height: height, Scale: d.options.Scale}.Size(rng, shown.Dx(), shown.Dy())
	if err != nil { // which resolve has looked for
		return shown, height, width
	}
	part := augment.FixedCrop(rng, w, h, width, height)
	x := func(at int) int { return shown.Min.X + scaled(at, shown.Dx(), w) }
	y := func(at int) int { return shown.Min.Y + scaled(at, shown.Dy(), h) }
	left, top := min(x(part.Min.X), shown.Max.X-1), min(y(part.Min.Y), shown.Max.Y-1)
	return image.Rect(left, top, max(x(part.Max.X), left+1), max(y(part.Max.Y), top+1)), part.Dy(), part.Dx()
}

// scaled is at*to/from, rounded.
func scaled(at, to, from int) int { return int(math.Round(float64(at) * float64(to) / float64(from))) }

// place has a sample show a part of its picture's plane in so many pixels. What is outside of the picture stays 0.
func (s *sample) place(shown image.Rectangle, height, width int) {
	s.size.Height, s.size.Width = height, width
	real := shown.Intersect(image.Rect(0, 0, s.size.OriginalWidth, s.size.OriginalHeight))
	s.how.part = region{real.Min.X, real.Min.Y, real.Dx(), real.Dy()}
	s.left, s.how.width = span(real.Min.X-shown.Min.X, real.Max.X-shown.Min.X, width, shown.Dx())
	s.top, s.how.height = span(real.Min.Y-shown.Min.Y, real.Max.Y-shown.Min.Y, height, shown.Dy())
	if s.how.flip {
		s.left = width - s.left - s.how.width
	}
}

// span scales a line, which keeps a pixel at least.
func span(from, to, pixels, of int) (start, length int) {
	start = max(min(scaled(from, pixels, of), pixels-1), 0)
	return start, max(scaled(to, pixels, of)-start, 1)
}

// smallest is the side in pixels below which a box is left out that crops have cut, as torchvision's
// SanitizeBoundingBoxes does.
const smallest = 1

// seen gives boxes of the stored picture in pixels of the resized one.
func (s *sample) seen(boxes []annotation.Box, least float32) {
	part := s.how.part
	fx, fy := float32(s.how.width)/float32(part.width), float32(s.how.height)/float32(part.height)
	right, bottom := float64(part.left+part.width), float64(part.top+part.height)
	left, top := float64(part.left), float64(part.top)
	for _, b := range boxes {
		x1, x2 := min(max(b.X1, left), right), min(max(b.X2, left), right)
		y1, y2 := min(max(b.Y1, top), bottom), min(max(b.Y2, top), bottom)
		if x2 <= x1 || y2 <= y1 {
			continue
		}
		if s.how.flip {
			x1, x2 = left+right-x2, left+right-x1
		}
		seen := Box{
			float32(x1-left)*fx + float32(s.left), float32(y1-top)*fy + float32(s.top),
			float32(x2-left)*fx + float32(s.left), float32(y2-top)*fy + float32(s.top), b.Class,
		}
		if seen.X2-seen.X1 >= least && seen.Y2-seen.Y1 >= least {
			s.boxes = append(s.boxes, seen)
		}
	}
}

// coloured is a picture with its colours changed; m itself where they stay.
func (s *sample) coloured(m *picture.Image) (*picture.Image, error) {
	if s.colour == nil || len(s.colour.Operations()) == 0 {
		return m, nil
	}
	out := decoded.Get().(*picture.Image)
	return out, s.colour.Apply(out, m)
}
