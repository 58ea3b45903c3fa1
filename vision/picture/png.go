package picture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image/png"
)

const (
	pngSignature = "\x89PNG\r\n\x1a\n"

	// deflateRatio is the most that deflate can shrink data: 258 bytes in 2 bits.
	deflateRatio = 1032
)

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
	for at := 8; at+12 <= len(data); {
		n := int(binary.BigEndian.Uint32(data[at:]))
		if n > len(data)-at-12 {
			break // the decoder will say so
		}
		body := data[at+8 : at+8+n]
		switch string(data[at+4 : at+8]) {
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
	return nil
}

func decodePNG(m *Image, data []byte, h outline) error {
	img, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		return damaged(err)
	}
	m.resize(h.width, h.height)
	return toRGB(m, img)
}
