package picture

import (
	"errors"
	"fmt"
	"image"
	"image/color"
)

// FromImage is an image that is in memory already: its alpha dropped, not blended, as Pillow's convert("RGB") does, and
// samples of 16 bits scaled to 8 as Decode does it. It does not keep img. An image without pixels, or nil, is an error.
func FromImage(img image.Image) (*Image, error) {
	if img == nil {
		return nil, errors.New("the image is nil")
	}
	b := img.Bounds()
	if b.Empty() {
		return nil, fmt.Errorf("an image of %d x %d pixels: it needs one at least", b.Dx(), b.Dy())
	}
	m := new(Image)
	m.resize(b.Dx(), b.Dy())
	m.FullWidth, m.FullHeight = m.Width, m.Height
	switch img := img.(type) {
	case *image.YCbCr:
		at := func(x, y int) [3]byte {
			c := img.YCbCrAt(b.Min.X+x, b.Min.Y+y)
			red, green, blue := color.YCbCrToRGB(c.Y, c.Cb, c.Cr)
			return [3]byte{red, green, blue}
		}
		m.fill(at)
		return m, nil
	case *image.NRGBA, *image.RGBA, *image.Gray, *image.Gray16, *image.NRGBA64, *image.Paletted:
		return m, toRGB(m, img)
	}
	m.fill(func(x, y int) [3]byte {
		c := color.NRGBAModel.Convert(img.At(b.Min.X+x, b.Min.Y+y)).(color.NRGBA)
		return [3]byte{c.R, c.G, c.B}
	})
	return m, nil
}

// fill sets every pixel.
func (m *Image) fill(at func(x, y int) [3]byte) {
	for y := range m.Height {
		for x := range m.Width {
			c := at(x, y)
			copy(m.Pix[3*(y*m.Width+x):], c[:])
		}
	}
}

// toRGB fills m, which has img's size, with img's colours.
func toRGB(m *Image, img image.Image) error {
	if b := img.Bounds(); b.Dx() != m.Width || b.Dy() != m.Height {
		return fmt.Errorf("it has %d x %d pixels, its header says %d x %d", b.Dx(), b.Dy(), m.Width, m.Height)
	}
	return pasteRGB(m, img, image.Point{})
}

// pasteRGB copies img into m, its top left to at. Of 16 bits it takes the high byte, but see greyShift; alpha it drops.
func pasteRGB(m *Image, img image.Image, at image.Point) error {
	b := img.Bounds()
	if at.X < 0 || at.Y < 0 || at.X+b.Dx() > m.Width || at.Y+b.Dy() > m.Height {
		return fmt.Errorf("its frame of %d x %d pixels does not fit in %d x %d", b.Dx(), b.Dy(), m.Width, m.Height)
	}
	row, err := rgbRows(img)
	if err != nil {
		return err
	}
	for y := range b.Dy() {
		row(m.Pix[3*((at.Y+y)*m.Width+at.X):][:3*b.Dx()], y)
	}
	return nil
}

// rgbRows gives what writes the RGB bytes of one of img's rows.
func rgbRows(img image.Image) (func(dst []byte, y int), error) {
	switch img := img.(type) {
	case *image.NRGBA:
		return func(dst []byte, y int) { dropAlpha(dst, img.Pix[y*img.Stride:]) }, nil
	case *image.RGBA:
		if img.Opaque() {
			return func(dst []byte, y int) { dropAlpha(dst, img.Pix[y*img.Stride:]) }, nil
		}
		return func(dst []byte, y int) { divideByAlpha(dst, img.Pix[y*img.Stride:]) }, nil
	case *image.Gray:
		return func(dst []byte, y int) { repeatGrey(dst, img.Pix[y*img.Stride:]) }, nil
	case *image.Gray16:
		shift := greyShift(img)
		return func(dst []byte, y int) { shiftGrey(dst, img.Pix[y*img.Stride:], shift) }, nil
	case *image.NRGBA64:
		return func(dst []byte, y int) { highBytes(dst, img.Pix[y*img.Stride:]) }, nil
	case *image.RGBA64:
		if img.Opaque() {
			return func(dst []byte, y int) { highBytes(dst, img.Pix[y*img.Stride:]) }, nil
		}
	case *image.Paletted:
		var palette [256][3]byte
		for i, c := range img.Palette {
			palette[i] = rgbOf(c)
		}
		return func(dst []byte, y int) {
			for i, index := range img.Pix[y*img.Stride:][:len(dst)/3] {
				copy(dst[3*i:3*i+3:3*i+3], palette[index][:])
			}
		}, nil
	}
	return nil, fmt.Errorf("its pixels are of a kind that cannot be read (%T): save it anew, or as PNG", img)
}

func dropAlpha(dst, rgba []byte) {
	for len(dst) > 0 {
		dst[0], dst[1], dst[2] = rgba[0], rgba[1], rgba[2]
		dst, rgba = dst[3:], rgba[4:]
	}
}

// divideByAlpha undoes what TIFF calls associated alpha, as Pillow's unpackRGBa does.
func divideByAlpha(dst, rgba []byte) {
	for len(dst) > 0 {
		a := int(rgba[3])
		for c := range 3 {
			v := 0
			if a > 0 {
				v = min(255*int(rgba[c])/a, 255)
			}
			dst[c] = byte(v)
		}
		dst, rgba = dst[3:], rgba[4:]
	}
}

func repeatGrey(dst, grey []byte) {
	for len(dst) > 0 {
		dst[0], dst[1], dst[2] = grey[0], grey[0], grey[0]
		dst, grey = dst[3:], grey[1:]
	}
}

// greyShift is how many bits of 16-bit greys are to be dropped, so that the largest has 8: 8, or 4 where no value needs
// more than 12 bits, as cameras and scanners write them, or 0 where none needs more than 8.
func greyShift(img *image.Gray16) int {
	shift := 0
	for y := range img.Rect.Dy() {
		row := img.Pix[y*img.Stride:][:2*img.Rect.Dx()]
		for x := 0; x < len(row); x += 2 {
			switch high := row[x]; {
			case high >= 1<<4:
				return 8
			case high > 0:
				shift = 4
			}
		}
	}
	return shift
}

// shiftGrey drops the lowest bits of big-endian greys of 16 bits.
func shiftGrey(dst, grey []byte, shift int) {
	for len(dst) > 0 {
		v := byte((int(grey[0])<<8 | int(grey[1])) >> shift)
		dst[0], dst[1], dst[2] = v, v, v
		dst, grey = dst[3:], grey[2:]
	}
}

// highBytes takes the high bytes of big-endian RGBA of 16 bits.
func highBytes(dst, rgba []byte) {
	for len(dst) > 0 {
		dst[0], dst[1], dst[2] = rgba[0], rgba[2], rgba[4]
		dst, rgba = dst[3:], rgba[8:]
	}
}

// rgbOf is a palette's colour without its alpha.
func rgbOf(c color.Color) [3]byte {
	switch c := c.(type) {
	case color.RGBA: // opaque, or transparent black
		return [3]byte{c.R, c.G, c.B}
	case color.NRGBA:
		return [3]byte{c.R, c.G, c.B}
	}
	r, g, b, _ := c.RGBA()
	return [3]byte{byte(r >> 8), byte(g >> 8), byte(b >> 8)}
}
