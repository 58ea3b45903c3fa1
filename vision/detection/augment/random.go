package augment

import (
	"fmt"
	"image"
	"math"
	"math/rand/v2"

	"github.com/thaw-ml/thaw/vision/detection/annotation"
)

// ScaleJitter resizes a picture to a random share of the size at which it fits into a target, its proportions kept:
// torchvision's ScaleJitter, the large-scale jitter of Ghiasi et al. 2021 (https://arxiv.org/abs/2012.07177). What is
// larger than the target afterwards is cropped by FixedCrop.
type ScaleJitter struct {
	Width, Height int        // the target in pixels
	Scale         [2]float64 // bounds of the share; 0, 0 stands for 0.1, 2
}

// Size draws the size that a picture is made.
func (s ScaleJitter) Size(rng *rand.Rand, width, height int) (int, int, error) {
	scale := s.Scale
	if scale == [2]float64{} {
		scale = [2]float64{0.1, 2}
	}
	switch {
	case s.Width < 1 || s.Height < 1 || s.Width > 1<<14 || s.Height > 1<<14:
		return 0, 0, fmt.Errorf("ScaleJitter: a target of %d x %d pixels: it needs 1 to %d", s.Width, s.Height, 1<<14)
	case !(0 < scale[0] && scale[0] <= scale[1] && scale[1] <= 16):
		return 0, 0, fmt.Errorf("ScaleJitter: Scale %v: it needs 0 < low <= high <= 16", scale)
	case width < 1 || height < 1:
		return 0, 0, fmt.Errorf("ScaleJitter: a picture of %d x %d pixels: it needs one at least", width, height)
	}
	r := min(float64(s.Height)/float64(height), float64(s.Width)/float64(width)) * between(rng, scale)
	return max(int(float64(width)*r), 1), max(int(float64(height)*r), 1), nil
}

// FixedCrop draws the part of a picture that is kept so that it is not larger than the target: as much as there is,
// at a random place, as torchvision's references do after ScaleJitter.
func FixedCrop(rng *rand.Rand, width, height, targetWidth, targetHeight int) image.Rectangle {
	w, h := min(width, targetWidth), min(height, targetHeight)
	x, y := rng.IntN(width-w+1), rng.IntN(height-h+1)
	return image.Rect(x, y, x+w, y+h)
}

// IoUCrop draws a part of a picture that overlaps with one of its boxes by at least a random share (of the union):
// torchvision's RandomIoUCrop, of SSD (Liu et al. 2016, https://arxiv.org/abs/1512.02325).
type IoUCrop struct {
	Scale  [2]float64 // bounds of each side's share; 0, 0 stands for 0.3, 1
	Aspect [2]float64 // bounds of width / height; 0, 0 stands for 0.5, 2
	// Overlap are the shares of which one is drawn, 1 for the whole picture; nil stands for 0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.
	Overlap []float64
	Tries   int // for each share; 0 stands for 40
}

// maxShares is after how many shares without a part the whole picture is kept. torchvision goes on for ever where
// Overlap has no 1.
const maxShares = 50

// Part draws the part of a picture that is kept, and tells which boxes stay: those whose middle is in it. It is the
// whole picture, and all boxes stay, where there are no boxes.
func (c IoUCrop) Part(rng *rand.Rand, boxes []annotation.Box, width, height int) (image.Rectangle, []bool, error) {
	if err := c.resolve(); err != nil {
		return image.Rectangle{}, nil, err
	}
	if width < 1 || height < 1 {
		return image.Rectangle{}, nil, fmt.Errorf("IoUCrop: a picture of %d x %d pixels: it needs one at least",
			width, height)
	}
	keep := make([]bool, len(boxes))
	for range maxShares {
		share := c.Overlap[rng.IntN(len(c.Overlap))]
		if share >= 1 || len(boxes) == 0 {
			break
		}
		for range c.Tries {
			w := int(float64(width) * between(rng, c.Scale))
			h := int(float64(height) * between(rng, c.Scale))
			if w == 0 || h == 0 || float64(w) < c.Aspect[0]*float64(h) || float64(w) > c.Aspect[1]*float64(h) {
				continue
			}
			x, y := int(float64(width-w)*rng.Float64()), int(float64(height-h)*rng.Float64())
			part := image.Rect(x, y, x+w, y+h)
			if most, any := overlaps(boxes, part, keep); any && most >= share {
				return part, keep, nil
			}
		}
	}
	for i := range keep {
		keep[i] = true
	}
	return image.Rect(0, 0, width, height), keep, nil
}

// Keep are the boxes that stay.
func Keep(boxes []annotation.Box, keep []bool) []annotation.Box {
	var kept []annotation.Box
	for i, b := range boxes {
		if keep[i] {
			kept = append(kept, b)
		}
	}
	return kept
}

func (c *IoUCrop) resolve() error {
	if c.Scale == [2]float64{} {
		c.Scale = [2]float64{0.3, 1}
	}
	if c.Aspect == [2]float64{} {
		c.Aspect = [2]float64{0.5, 2}
	}
	if c.Overlap == nil {
		c.Overlap = []float64{0, 0.1, 0.3, 0.5, 0.7, 0.9, 1}
	}
	if c.Tries == 0 {
		c.Tries = 40
	}
	switch {
	case !(0 < c.Scale[0] && c.Scale[0] <= c.Scale[1] && c.Scale[1] <= 1):
		return fmt.Errorf("IoUCrop: Scale %v: it needs 0 < low <= high <= 1", c.Scale)
	case !(0 < c.Aspect[0] && c.Aspect[0] <= c.Aspect[1] && c.Aspect[1] < math.MaxFloat32):
		return fmt.Errorf("IoUCrop: Aspect %v: it needs 0 < low <= high", c.Aspect)
	case len(c.Overlap) == 0:
		return fmt.Errorf("IoUCrop: Overlap is empty: it needs one share at least")
	case c.Tries < 1 || c.Tries > 10_000:
		return fmt.Errorf("IoUCrop: Tries %d: it needs 1 to 10,000", c.Tries)
	}
	for _, share := range c.Overlap {
		if !(share >= 0) {
			return fmt.Errorf("IoUCrop: Overlap %v: shares are 0 or more", c.Overlap)
		}
	}
	return nil
}

func between(rng *rand.Rand, bounds [2]float64) float64 {
	return bounds[0] + (bounds[1]-bounds[0])*rng.Float64()
}

// overlaps tells which boxes have their middle in a part, and the most that one of these overlaps with it.
func overlaps(boxes []annotation.Box, part image.Rectangle, keep []bool) (most float64, any bool) {
	left, top, right, bottom := float64(part.Min.X), float64(part.Min.Y), float64(part.Max.X), float64(part.Max.Y)
	for i, b := range boxes {
		x, y := (b.X1+b.X2)/2, (b.Y1+b.Y2)/2
		if keep[i] = left < x && x < right && top < y && y < bottom; !keep[i] {
			continue
		}
		any = true
		inner := (min(b.X2, right) - max(b.X1, left)) * (min(b.Y2, bottom) - max(b.Y1, top))
		most = max(most, inner/((b.X2-b.X1)*(b.Y2-b.Y1)+(right-left)*(bottom-top)-inner))
	}
	return most, any
}

// ZoomOut draws a larger canvas around a picture, in one of two cases, for objects to become small: torchvision's
// RandomZoomOut, of SSD.
type ZoomOut struct {
	Scale [2]float64 // bounds of the canvas's sides, in those of the picture; 0, 0 stands for 1, 4
}

// Canvas draws the canvas, in pixels of the picture: its upper left corner is at or before 0, 0. It is the picture
// itself in the other case.
func (z ZoomOut) Canvas(rng *rand.Rand, width, height int) image.Rectangle {
	scale := z.Scale
	if scale == [2]float64{} {
		scale = [2]float64{1, 4}
	}
	if rng.IntN(2) == 0 {
		return image.Rect(0, 0, width, height)
	}
	r := max(between(rng, scale), 1)
	w, h := int(float64(width)*r), int(float64(height)*r)
	x, y := int(float64(w-width)*rng.Float64()), int(float64(h-height)*rng.Float64())
	return image.Rect(-x, -y, w-x, h-y)
}
