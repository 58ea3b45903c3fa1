package picture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"image"
	"image/gif"
	"io"
)

type gifOutline struct {
	control int // where the flags of the first frame's graphic control extension are; 0: it has none
	clear   int // the transparent index, -1 if none
}

// readGIF reads the blocks up to the first frame. GIF89a, CompuServe 1990.
func (h *outline) readGIF(data []byte) error {
	if len(data) < 13 {
		return errShortHeader
	}
	h.width, h.height = int(binary.LittleEndian.Uint16(data[6:])), int(binary.LittleEndian.Uint16(data[8:]))
	h.atMost = 4096 * int64(len(data)) // a code takes more than a byte and stands for 4096 pixels at most
	h.gif.clear = -1
	at := 13
	if data[10]&0x80 != 0 {
		at += 3 << (data[10]&7 + 1)
	}
	for at < len(data) {
		switch data[at] {
		case ',':
			return nil
		case ';':
			return errors.New("it has no frame")
		case '!':
			if at+7 < len(data) && data[at+1] == 0xf9 && data[at+2] >= 4 {
				h.gif.control, h.gif.clear = at+3, -1
				if data[at+3]&1 != 0 {
					h.gif.clear = int(data[at+6])
				}
			}
			for at += 2; at < len(data) && data[at] != 0; at += 1 + int(data[at]) { // sub-blocks
			}
		case 0: // Pillow takes stray zeros too
		default:
			return errors.New("it is damaged: its blocks do not follow one another")
		}
		at++
	}
	return errShortHeader
}

func decodeGIF(m *Image, data []byte, h outline) error {
	var r io.Reader = bytes.NewReader(data)
	if h.gif.clear >= 0 {
		// The library blackens the transparent colour, which is still wanted here: the flag is read as not set.
		at := h.gif.control
		r = io.MultiReader(bytes.NewReader(data[:at]), bytes.NewReader([]byte{data[at] &^ 1}), bytes.NewReader(data[at+1:]))
	}
	img, err := gif.Decode(r)
	if err != nil {
		return damaged(err)
	}
	frame, ok := img.(*image.Paletted)
	if !ok {
		return errors.New("it has no palette")
	}
	m.resize(h.width, h.height)
	if frame.Rect != image.Rect(0, 0, h.width, h.height) {
		// What the frame leaves free is the transparent colour, or index 0: as in Pillow's load_prepare.
		index := max(h.gif.clear, 0)
		var c [3]byte
		if index < len(frame.Palette) {
			c = rgbOf(frame.Palette[index])
		}
		for i := 0; i < len(m.Pix); i += 3 {
			copy(m.Pix[i:], c[:])
		}
	}
	return pasteRGB(m, frame, frame.Rect.Min)
}
