package picture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"image"

	"golang.org/x/image/vp8"
	"golang.org/x/image/vp8l"
)

type webpOutline struct {
	lossless bool
	data     []byte // of the (first) frame's chunk "VP8 " or "VP8L"
	left     int    // where the frame goes
	top      int
	width    int // the frame's size
	height   int
}

// readWebP reads the chunks of the RIFF file. RFC 9649.
func (h *outline) readWebP(data []byte) error {
	if size := int64(binary.LittleEndian.Uint32(data[4:])); size+8 > int64(len(data)) {
		return errCutOff
	}
	var meta metadata
	var canvas bool
	err := webpChunks(data[12:], func(name string, body []byte) error {
		switch name {
		case "VP8X":
			if len(body) < 10 {
				return errShortHeader
			}
			canvas = true
			h.width, h.height = 1+uint24(body[4:]), 1+uint24(body[7:])
		case "VP8 ", "VP8L":
			return h.readWebPFrame(name, body)
		case "ANMF":
			if len(body) < 16 {
				return errShortHeader
			}
			if h.webp.data != nil {
				return nil
			}
			h.webp.left, h.webp.top = 2*uint24(body), 2*uint24(body[3:])
			return webpChunks(body[16:], func(name string, body []byte) error {
				if name == "VP8 " || name == "VP8L" {
					return h.readWebPFrame(name, body)
				}
				return nil
			})
		case "EXIF":
			meta.readEXIF(body)
		case "XMP ":
			meta.readXMP(body)
		}
		return nil
	})
	if err != nil {
		return err
	}
	f := &h.webp
	if f.data == nil {
		return errors.New("it has no frame")
	}
	if !canvas {
		h.width, h.height = f.width, f.height
	}
	if f.left+f.width > h.width || f.top+f.height > h.height {
		return errors.New("its frame is larger than its canvas")
	}
	h.Orientation = meta.orientation()
	if !f.lossless {
		// A macroblock of 16 x 16 pixels takes more than a bit: its mode alone does, by the key frame probabilities of
		// RFC 6386 section 11.2. A lossless picture of one colour takes no bits, however large it is.
		h.atMost = 8 * 256 * int64(len(data))
		if canvas && f.width < h.width { // the rest of the canvas takes none
			h.atMost = 0
		}
	}
	return nil
}

// webpChunks calls f for each chunk that is whole.
func webpChunks(data []byte, f func(name string, body []byte) error) error {
	for len(data) >= 8 {
		n := int(binary.LittleEndian.Uint32(data[4:]))
		if n > len(data)-8 {
			return errCutOff
		}
		if err := f(string(data[:4]), data[8:8+n]); err != nil {
			return err
		}
		data = data[min(8+n+n&1, len(data)):]
	}
	return nil
}

func uint24(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }

// readWebPFrame keeps the first frame, and reads its size.
func (h *outline) readWebPFrame(name string, body []byte) error {
	if h.webp.data != nil {
		return nil
	}
	f := &h.webp
	if f.lossless = name == "VP8L"; f.lossless {
		if len(body) < 5 || body[0] != 0x2f {
			return errShortHeader
		}
		bits := int(binary.LittleEndian.Uint32(body[1:]))
		f.width, f.height = 1+bits&0x3fff, 1+bits>>14&0x3fff
	} else {
		if len(body) < 10 || string(body[3:6]) != "\x9d\x01\x2a" {
			return errShortHeader
		}
		f.width = int(binary.LittleEndian.Uint16(body[6:]) & 0x3fff)
		f.height = int(binary.LittleEndian.Uint16(body[8:]) & 0x3fff)
	}
	f.data = body
	return nil
}

// decodeWebP decodes the frame alone: the alpha channel of a lossy picture lies in a chunk of its own.
func decodeWebP(m *Image, h outline) error {
	f := h.webp
	var img image.Image
	if f.lossless {
		var err error
		if img, err = vp8l.Decode(bytes.NewReader(f.data)); err != nil {
			return damaged(err)
		}
	} else {
		d := vp8.NewDecoder()
		d.Init(bytes.NewReader(f.data), len(f.data))
		if _, err := d.DecodeFrameHeader(); err != nil {
			return damaged(err)
		}
		ycc, err := d.DecodeFrame()
		if err != nil {
			return damaged(err)
		}
		img = ycc
	}
	at := image.Pt(f.left, f.top)
	m.resize(h.width, h.height)
	if f.width != h.width || f.height != h.height {
		clear(m.Pix) // the canvas is transparent black
	}
	if ycc, ok := img.(*image.YCbCr); ok {
		pasteVP8(m, ycc, at)
		return nil
	}
	return pasteRGB(m, img, at)
}
