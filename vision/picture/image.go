// Package picture reads picture files into 8-bit RGB: JPEG, PNG, GIF (the first frame), BMP, WebP, TIFF and the PBM,
// PGM and PPM of netpbm, told apart by what is in them.
//
// The pixels are those that Python's Pillow gives for ImageOps.exif_transpose(Image.open(file)).convert("RGB"): turned
// as the EXIF (or XMP) orientation says, the alpha channel dropped and not blended, CMYK converted without a colour
// profile. They are the same bytes, but for two things: greys of 16 bits are scaled to 8, where convert clips them at
// 255 (by 256, or by 16 in a picture whose values need 12 bits only, and not where they need 8; by their largest value
// in PGM); and JPEGs read with Go's image/jpeg, where no libjpeg-turbo is found, differ by rounding and by the
// upsampling of colour. See JPEGDecoder.
package picture

import (
	"image"
	"slices"
)

// Image is a picture in 8-bit RGB: rows from the top, pixels from the left, without gaps.
type Image struct {
	Width, Height int
	Pix           []byte // 3*Width*Height

	// FullWidth and FullHeight are the size at full scale of a picture that was read from a file. They are larger than
	// Width and Height after a scaled decode, see Options, and 0 in pictures made otherwise.
	FullWidth, FullHeight int

	// Part is where the picture lies in the one that it is a part of, which has Whole pixels, where only that was decoded: see
	// Options. Both are zero in whole pictures.
	Part  image.Rectangle
	Whole image.Point
}

// resize gives the picture a size, and pixels of whatever values.
func (m *Image) resize(width, height int) {
	n := 3 * width * height
	m.Width, m.Height = width, height
	m.Pix = slices.Grow(m.Pix[:0], n)[:n]
}
