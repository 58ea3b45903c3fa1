// Package augment moves boxes as the transforms of detection move pixels: flips, resizing, scale jitter, and crops that
// keep boxes. Everything is a function of its arguments: what is random is drawn first, as parameters (a size, a
// rectangle), which are then applied to the pixels (package transform, or a loader of its own) and to the boxes.
//
// The slices that are given stay as they are.
package augment

import (
	"image"

	"github.com/thaw-ml/thaw/vision/detection/annotation"
)

// FlipHorizontal mirrors boxes on a picture of so many pixels width, as transform.FlipHorizontal does its pixels.
func FlipHorizontal(boxes []annotation.Box, width int) []annotation.Box {
	w := float64(width)
	return each(boxes, func(b *annotation.Box) { b.X1, b.X2 = w-b.X2, w-b.X1 })
}

// Resize scales boxes from a picture of one size to that of another, by the ratio of each side, as torchvision does.
// Areas are scaled too.
func Resize(boxes []annotation.Box, fromWidth, fromHeight, toWidth, toHeight int) []annotation.Box {
	x, y := float64(toWidth)/float64(fromWidth), float64(toHeight)/float64(fromHeight)
	return each(boxes, func(b *annotation.Box) {
		b.X1, b.X2, b.Y1, b.Y2 = b.X1*x, b.X2*x, b.Y1*y, b.Y2*y
		b.Area *= x * y
	})
}

// Crop moves boxes to a part of the picture and cuts them to it, as torchvision does; the result of transform.Crop is
// the part. Boxes outside of it come out with no area, for Drop. An area keeps the share that its box keeps.
func Crop(boxes []annotation.Box, part image.Rectangle) []annotation.Box {
	x, y := float64(part.Min.X), float64(part.Min.Y)
	return each(boxes, func(b *annotation.Box) {
		before := (b.X2 - b.X1) * (b.Y2 - b.Y1)
		b.X1, b.X2, b.Y1, b.Y2 = b.X1-x, b.X2-x, b.Y1-y, b.Y2-y
		*b = b.ClippedTo(part.Dx(), part.Dy())
		if before > 0 {
			b.Area *= (b.X2 - b.X1) * (b.Y2 - b.Y1) / before
		}
	})
}

// Pad moves boxes to a larger picture, in which the one they are on begins at left, top.
func Pad(boxes []annotation.Box, left, top int) []annotation.Box {
	x, y := float64(left), float64(top)
	return each(boxes, func(b *annotation.Box) { b.X1, b.X2, b.Y1, b.Y2 = b.X1+x, b.X2+x, b.Y1+y, b.Y2+y })
}

// Drop leaves out degenerate boxes: those with a side of less than minSide pixels, or with no area where it is 0.
// torchvision's SanitizeBoundingBoxes takes 1.
func Drop(boxes []annotation.Box, minSide float64) []annotation.Box {
	var kept []annotation.Box
	for _, b := range boxes {
		if w, h := b.X2-b.X1, b.Y2-b.Y1; w >= minSide && h >= minSide && w > 0 && h > 0 {
			kept = append(kept, b)
		}
	}
	return kept
}

// each changes a copy of boxes.
func each(boxes []annotation.Box, change func(*annotation.Box)) []annotation.Box {
	moved := make([]annotation.Box, len(boxes))
	for i, b := range boxes {
		change(&b)
		moved[i] = b
	}
	return moved
}
