package picture

import (
	"bytes"
	"errors"
	"fmt"

	"golang.org/x/image/tiff"
)

type tiffOutline struct {
	// Fax-coded, and 0 is black: TIFF's section 10 has such pictures reversed, libtiff does it, the library here not.
	reversed bool
}

// readTIFF reads the first directory. TIFF revision 6.0, sections 2 and 8.
func (h *outline) readTIFF(data []byte) error {
	order, at, ok := tiffStart(data)
	if !ok {
		return errShortHeader
	}
	var meta metadata
	bits, samples, compression, planes, black := int64(1), int64(1), uint32(1), uint32(1), uint32(0)
	tiled := false
	whole := tiffEntries(data, order, at, func(e tiffEntry) {
		values := e.uints(1)
		if e.tag == 700 { // XMP
			meta.readXMP(e.bytes())
		}
		if len(values) == 0 {
			return
		}
		switch v := values[0]; e.tag {
		case 256:
			h.width = int(v)
		case 257:
			h.height = int(v)
		case 258:
			bits, samples = int64(v), int64(e.count)
		case 259:
			compression = v
		case 262: // what 0 is: 0 white, 1 black
			black = v
		case tagOrientation:
			meta.exif, meta.hasEXIF = int(v), true
		case 284:
			planes = v
		case 322:
			tiled = v > 0
		}
	})
	if !whole {
		return errShortHeader
	}
	h.Orientation = meta.orientation()
	if planes == 2 && samples > 1 {
		return errors.New("it stores its colours in separate planes, which cannot be read: save it anew, or as PNG")
	}
	if bits == 0 || bits > 64 || samples == 0 || samples > 16 {
		return fmt.Errorf("its header says %d samples of %d bits a pixel", samples, bits)
	}
	length := int64(len(data))
	switch pixel := bits * samples; compression {
	case 0, 1: // none
		h.atMost = 8 * length / pixel
	case 5: // LZW: a code takes 9 bits at least, and stands for 4096 bytes at most
		h.atMost = 8 * 4096 * length / pixel
	case 8, 32946: // deflate
		h.atMost = 8*deflateRatio*length/pixel + deflateRatio
	case 32773: // PackBits: 2 bytes stand for 128
		h.atMost = 8 * 64 * length / pixel
	case 2, 3, 4: // CCITT: a row takes a bit at least
		h.tiff.reversed = black == 1
		if !tiled {
			h.atMost = 8 * length * int64(h.width)
		}
	}
	return nil
}

func decodeTIFF(m *Image, data []byte, h outline) error {
	img, err := tiff.Decode(bytes.NewReader(data))
	if err != nil {
		var unsupported tiff.UnsupportedError
		if errors.As(err, &unsupported) {
			return fmt.Errorf("%w: save it anew, or as PNG", err)
		}
		return damaged(err)
	}
	m.resize(h.width, h.height)
	if err := toRGB(m, img); err != nil {
		return err
	}
	if h.tiff.reversed {
		for i, v := range m.Pix {
			m.Pix[i] = 255 - v
		}
	}
	return nil
}
