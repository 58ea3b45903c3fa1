package picture

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"golang.org/x/image/bmp"
)

// readBMP reads the file header and the BITMAPINFOHEADER (or its versions 4 and 5).
func (h *outline) readBMP(data []byte) error {
	if len(data) < 18 {
		return errShortHeader
	}
	n := binary.LittleEndian.Uint32(data[14:])
	if n != 40 && n != 108 && n != 124 {
		return fmt.Errorf("it has a header of %d bytes; those of 40, 108 or 124 can be read: save it anew, or as PNG", n)
	}
	if len(data) < 14+int(n) {
		return errShortHeader
	}
	w, ht := int32(binary.LittleEndian.Uint32(data[18:])), int32(binary.LittleEndian.Uint32(data[22:]))
	h.width, h.height = int(w), max(int(ht), -int(ht)) // negative: rows from the top
	bits, compression := binary.LittleEndian.Uint16(data[28:]), binary.LittleEndian.Uint32(data[30:])
	switch {
	case bits != 1 && bits != 2 && bits != 4 && bits != 8 && bits != 24 && bits != 32:
		return fmt.Errorf("it has %d bits a pixel; 1, 2, 4, 8, 24 and 32 can be read: save it as PNG", bits)
	case compression != 0 && compression != 3:
		return fmt.Errorf("it is compressed (kind %d); only those that are not can be read: save it as PNG", compression)
	}
	h.atMost = 8 * int64(len(data)) / int64(bits)
	return nil
}

func decodeBMP(m *Image, data []byte, h outline) error {
	img, err := bmp.Decode(bytes.NewReader(data))
	if err == bmp.ErrUnsupported {
		return fmt.Errorf("%w (its palette, its bit masks or where its pixels begin): save it as PNG", err)
	}
	if err != nil {
		return damaged(err)
	}
	m.resize(h.width, h.height)
	return toRGB(m, img)
}
