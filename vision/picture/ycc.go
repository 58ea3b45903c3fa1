package picture

import "image"

// yccToRGB converts what Go's JPEG decoder gives as libjpeg does, with its fixed-point constants (jdcolor.c) and its
// upsampling of colour by a triangle filter (jdsample.c, "fancy upsampling"): so that, where libjpeg-turbo is missing,
// pictures differ by the rounding of the inverse DCT only.
func yccToRGB(m *Image, img *image.YCbCr) {
	w := img.Rect.Dx()
	cb, cr := make([]byte, w+1), make([]byte, w+1)
	sums := make([]int, (w+1)/2)
	for y := range img.Rect.Dy() {
		chromaRow(cb, sums, img, img.Cb, y)
		chromaRow(cr, sums, img, img.Cr, y)
		rgb := m.Pix[3*y*w:][:3*w]
		for x, v := range img.Y[img.YOffset(img.Rect.Min.X, img.Rect.Min.Y+y):][:w] {
			l, b, r := int(v), int(cb[x])-128, int(cr[x])-128
			rgb[3*x] = clip(l + (91881*r+1<<15)>>16)
			rgb[3*x+1] = clip(l + (-22554*b-46802*r+1<<15)>>16)
			rgb[3*x+2] = clip(l + (116130*b+1<<15)>>16)
		}
	}
}

func clip(v int) byte { return byte(min(max(v, 0), 255)) }

// chromaRow fills dst with a plane's samples for row y; sums is for its use.
func chromaRow(dst []byte, sums []int, img *image.YCbCr, plane []byte, y int) {
	w, h := img.Rect.Dx(), img.Rect.Dy()
	row := func(y int) []byte { return plane[y*img.CStride:] }
	near := y / 2
	far := near - 1 + y&1*2 // the row of colour at the other side
	if far < 0 || far >= (h+1)/2 {
		far = near
	}
	half := (w + 1) / 2
	switch ratio := img.SubsampleRatio; {
	case ratio == image.YCbCrSubsampleRatio422 && half > 2:
		for i, v := range row(y)[:half] {
			sums[i] = int(v)
		}
		triangle(dst, sums, 1, 2, 2)
	case ratio == image.YCbCrSubsampleRatio420 && half > 2:
		a, b := row(near), row(far)
		for i := range sums {
			sums[i] = 3*int(a[i]) + int(b[i])
		}
		triangle(dst, sums, 8, 7, 4)
	case ratio == image.YCbCrSubsampleRatio440:
		a, b := row(near), row(far)
		for x := range w {
			dst[x] = byte((3*int(a[x]) + int(b[x]) + 1 + y&1) >> 2)
		}
	default:
		at := img.Rect.Min
		for x := range w {
			dst[x] = plane[img.COffset(at.X+x, at.Y+y)]
		}
	}
}

// triangle doubles a row: each sample gives two, three parts of itself and one of its neighbour, which are rounded
// with a bias each, and shifted.
func triangle(dst []byte, row []int, biasLeft, biasRight, shift int) {
	last := len(row) - 1
	for i, v := range row {
		left, right := row[max(i-1, 0)], row[min(i+1, last)]
		dst[2*i] = byte((3*v + left + biasLeft) >> shift)
		if 2*i+1 < len(dst) {
			dst[2*i+1] = byte((3*v + right + biasRight) >> shift)
		}
	}
}
