package picture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image/png"
	"io"
	"strings"
)

const (
	pngSignature = "\x89PNG\r\n\x1a\n"

	// deflateRatio is the most that deflate can shrink data: 258 bytes in 2 bits.
	deflateRatio = 1032
)

// pngOutline is what is to be put right before the decoder sees a PNG.
type pngOutline struct {
	end int // where the whole chunks end, if no IEND is among them and pixels are; 0 otherwise
}

// readPNG reads the chunks, which are only looked into for the size and the orientation. W3C PNG, third edition.
func (h *outline) readPNG(data []byte) error {
	if len(data) < 33 || string(data[12:16]) != "IHDR" {
		return errShortHeader
	}
	w, ht := binary.BigEndian.Uint32(data[16:]), binary.BigEndian.Uint32(data[20:])
	if w > 1<<31-1 || ht > 1<<31-1 {
		return fmt.Errorf("its header says %d x %d pixels", w, ht)
	}
	h.width, h.height = int(w), int(ht)
	depth, kind := int64(data[24]), data[25]
	samples, ok := map[byte]int64{0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[kind]
	if !ok || depth == 0 {
		return errors.New("its header is damaged")
	}
	h.atMost = (int64(len(data))*deflateRatio*8 + deflateRatio) / (depth * samples)

	var meta metadata
	at, pixels, ended := 8, false, false
	for !ended && at+12 <= len(data) {
		n := int(binary.BigEndian.Uint32(data[at:]))
		if n > len(data)-at-12 {
			break // the decoder will say so
		}
		body := data[at+8 : at+8+n]
		switch string(data[at+4 : at+8]) {
		case "IDAT":
			pixels = true
		case "IEND":
			ended = true
		case "eXIf":
			meta.readEXIF(body)
		case "iTXt":
			if bytes.HasPrefix(body, []byte("XML:com.adobe.xmp\x00\x00")) { // \x00: not compressed
				meta.readXMP(body)
			}
		}
		at += 12 + n
	}
	h.Orientation = meta.orientation()
	if pixels && !ended && len(data)-at < 12 { // Pillow, too, takes a picture whose pixels are all there
		h.png.end = at
	}
	return nil
}

func decodePNG(m *Image, data []byte, h outline) error {
	var r io.Reader = bytes.NewReader(data)
	if h.png.end > 0 {
		const iend = "\x00\x00\x00\x00IEND\xaeB`\x82"
		r = io.MultiReader(bytes.NewReader(data[:h.png.end]), strings.NewReader(iend))
	}
	img, err := png.Decode(r)
	if err != nil {
		return damaged(err)
	}
	m.resize(h.width, h.height)
	return toRGB(m, img)
}
