package picture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/image/tiff"
)

type tiffOutline struct {
	// Fax-coded, and 0 is black: TIFF's section 10 has such pictures reversed, libtiff does it, the library here not.
	reversed bool

	order     binary.ByteOrder
	directory int64 // where the first is
	jpeg      bool  // the pixels are
	ycc       bool  // and of luma and colour differences
}

// readTIFF reads the first directory. TIFF revision 6.0, sections 2 and 8.
func (h *outline) readTIFF(data []byte) error {
	order, at, ok := tiffStart(data)
	if !ok {
		return errShortHeader
	}
	h.tiff.order, h.tiff.directory = order, at
	var meta metadata
	format := uint32(1)
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
		case 339: // 1: unsigned integers
			format = v
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
	if err := supportedTIFF(bits, samples, compression, black, format); err != nil {
		return err
	}
	length := int64(len(data))
	switch pixel := bits * samples; compression {
	case 0, 1: // none
		h.atMost = 8 * length / pixel
	case 5: // LZW: a code takes 9 bits at least, and stands for 4096 bytes at most
		h.atMost = 8 * 4096 * length / pixel
	case 8, 32946: // deflate
		h.atMost = 8*deflateRatio*length/pixel + deflateRatio
	case 7:
		h.tiff.jpeg, h.tiff.ycc = true, black == 6
		h.atMost = 64 * 8 * length // as readJPEG's
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

// supportedTIFF refuses what the decoders do not read, by name.
func supportedTIFF(bits, samples int64, compression, photometric, format uint32) error {
	const anew = "save it anew, or as PNG"
	others := map[uint32]string{2: "CCITT's of revision 5 (2)", 6: "JPEG of the old kind (6)", 34712: "JPEG 2000 (34712)",
		34925: "LZMA (34925)", 50000: "Zstandard (50000)", 50001: "WebP (50001)", 34887: "LERC (34887)", 32809: "ThunderScan (32809)"}
	switch compression {
	case 0, 1, 3, 4, 5, 8, 32946, 32773:
	case 7:
		if bits != 8 || samples != 1 && samples != 3 || photometric != 1 && photometric != 2 && photometric != 6 {
			return fmt.Errorf("it holds a JPEG of %d samples of %d bits in the colour space %d; 8 bits of grey, RGB and YCbCr can be read: %s", samples, bits, photometric, anew)
		}
		return nil
	default:
		name, ok := others[compression]
		if !ok {
			name = fmt.Sprintf("of the kind %d", compression)
		}
		return fmt.Errorf("its compression, %s, is not supported: %s", name, anew)
	}
	switch {
	case bits != 1 && bits != 8 && bits != 16:
		return fmt.Errorf("it has %d bits a sample; 1, 8 and 16 can be read: %s", bits, anew)
	case format != 1:
		return fmt.Errorf("its samples are no unsigned integers (sample format %d): %s", format, anew)
	case photometric > 3:
		return fmt.Errorf("its colour space (%d) is not supported; grey, RGB and palettes can be read: %s", photometric, anew)
	}
	return nil
}

func decodeTIFF(m *Image, data []byte, h outline, turbo *turbojpeg) error {
	if h.tiff.jpeg {
		return decodeTIFFJPEG(m, data, h, turbo)
	}
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
