package picture

import (
	"fmt"
	"image"
)

// FromImage converts a picture in memory to 8-bit RGB. Of 16 bits it takes the high byte, and alpha it drops and does not blend,
// as Pillow's convert("RGB"). Of the options MaxPixels and Into count.
func FromImage(img image.Image, o Options) (*Image, error) {
	b := img.Bounds()
	if b.Dx() < 1 || b.Dy() < 1 {
		return nil, fmt.Errorf("the image has %d x %d pixels", b.Dx(), b.Dy())
	}
	if b.Dx() > o.maxPixels()/b.Dy() {
		return nil, fmt.Errorf("the image has %d x %d pixels, more than the %d that are allowed (MaxPixels)", b.Dx(), b.Dy(), o.maxPixels())
	}
	m := o.Into
	if m == nil {
		m = &Image{}
	}
	m.resize(b.Dx(), b.Dy())
	return m, toRGB(m, img)
}
