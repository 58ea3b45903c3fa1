package picture

import "image"

// orient fills dst with src turned upright. How src is stored is counted as EXIF does (tag 0x0112, EXIF 2.32 section
// 4.6.4): the number tells where row 0 and column 0 of what is stored belong.
func orient(dst, src *Image, orientation int) {
	w, h := src.Width, src.Height
	// The pixel of dst at (x, y) is the one of src at origin + x*dx + y*dy, counted in pixels.
	var origin, dx, dy int
	switch orientation {
	case 2: // mirrored left to right
		origin, dx, dy = w-1, -1, w
	case 3: // upside down
		origin, dx, dy = w*h-1, -1, -w
	case 4: // mirrored top to bottom
		origin, dx, dy = w*(h-1), 1, -w
	case 5: // transposed
		origin, dx, dy = 0, w, 1
	case 6: // to be turned right
		origin, dx, dy = w*(h-1), -w, 1
	case 7: // transposed about the other diagonal
		origin, dx, dy = w*h-1, -w, -1
	case 8: // to be turned left
		origin, dx, dy = w-1, w, -1
	default:
		origin, dx, dy = 0, 1, w
	}
	if orientation >= 5 {
		w, h = h, w
	}
	dst.resize(w, h)
	out := dst.Pix
	for y := range h {
		at := 3 * (origin + y*dy)
		for range w {
			copy(out[:3:3], src.Pix[at:at+3])
			out = out[3:]
			at += 3 * dx
		}
	}
}

// storedBox is where a box of a picture that is turned upright lies in it as it is stored, width x height pixels.
func storedBox(box image.Rectangle, orientation, width, height int) image.Rectangle {
	if orientation >= 5 {
		box = transposed(box)
	}
	return mirroredBox(box, orientation, width, height)
}

// uprightBox is the other way round.
func uprightBox(box image.Rectangle, orientation, width, height int) image.Rectangle {
	box = mirroredBox(box, orientation, width, height)
	if orientation >= 5 {
		box = transposed(box)
	}
	return box
}

func transposed(box image.Rectangle) image.Rectangle {
	return image.Rect(box.Min.Y, box.Min.X, box.Max.Y, box.Max.X)
}

// mirroredBox counts a box of what is stored from the sides where an upright picture begins; an empty one stays so.
func mirroredBox(box image.Rectangle, orientation, width, height int) image.Rectangle {
	if box.Empty() {
		return image.Rectangle{}
	}
	switch orientation {
	case 2, 3, 7, 8:
		box.Min.X, box.Max.X = width-box.Max.X, width-box.Min.X
	}
	switch orientation {
	case 3, 4, 6, 7:
		box.Min.Y, box.Max.Y = height-box.Max.Y, height-box.Min.Y
	}
	return box
}
