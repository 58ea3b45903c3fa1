package picture

import (
	"bytes"
	"encoding/binary"
	"regexp"
)

const tagOrientation = 0x0112

// metadata collects what may tell how a picture is turned. Pillow's order is kept: EXIF, and XMP where EXIF is silent.
type metadata struct {
	exif, xmp int
	hasEXIF   bool
}

// orientation is what was found, or 0.
func (m *metadata) orientation() int {
	if m.hasEXIF {
		return m.exif
	}
	return m.xmp
}

// readEXIF looks for the orientation in an EXIF block: a TIFF header and a directory. A broken block tells nothing.
func (m *metadata) readEXIF(block []byte) {
	for bytes.HasPrefix(block, []byte("Exif\x00\x00")) {
		block = block[6:]
	}
	order, at, ok := tiffStart(block)
	if !ok || m.hasEXIF {
		return
	}
	tiffEntries(block, order, at, func(e tiffEntry) {
		if values := e.uints(1); e.tag == tagOrientation && len(values) == 1 {
			m.exif, m.hasEXIF = int(values[0]), true
		}
	})
}

// The pattern is Pillow's, from Image.getexif.
var xmpOrientation = regexp.MustCompile(`tiff:Orientation(?:="|>)([0-9])`)

func (m *metadata) readXMP(packet []byte) {
	if match := xmpOrientation.FindSubmatch(packet); match != nil {
		m.xmp = int(match[1][0] - '0')
	}
}

// tiffStart reads the 8 bytes that a TIFF file and an EXIF block start with: the byte order, and where the first
// directory is.
func tiffStart(data []byte) (order binary.ByteOrder, directory int64, ok bool) {
	if len(data) < 8 {
		return nil, 0, false
	}
	switch string(data[:4]) {
	case "II*\x00":
		order = binary.LittleEndian
	case "MM\x00*":
		order = binary.BigEndian
	default:
		return nil, 0, false
	}
	return order, int64(order.Uint32(data[4:])), true
}

// tiffEntry is one of the 12-byte entries of a TIFF directory.
type tiffEntry struct {
	tag, kind uint16
	count     uint32
	data      []byte // the whole block
	field     []byte // 4 bytes: the values, or where they are
	order     binary.ByteOrder
}

// tiffEntries calls f for each entry of one directory that lies within data. It follows no links, so it ends.
func tiffEntries(data []byte, order binary.ByteOrder, at int64, f func(tiffEntry)) (ok bool) {
	if at < 0 || at+2 > int64(len(data)) {
		return false
	}
	n := int(order.Uint16(data[at:]))
	rest := data[at+2:]
	if len(rest) < 12*n {
		n, ok = len(rest)/12, false
	} else {
		ok = true
	}
	for i := range n {
		e := rest[12*i:]
		f(tiffEntry{tag: order.Uint16(e), kind: order.Uint16(e[2:]), count: order.Uint32(e[4:]), data: data, field: e[8:12], order: order})
	}
	return ok
}

// bytes are the entry's values as they are stored, if they lie within the data.
func (e tiffEntry) bytes() []byte {
	size := map[uint16]uint64{1: 1, 2: 1, 3: 2, 4: 4, 6: 1, 7: 1, 8: 2, 9: 4}[e.kind]
	n := size * uint64(e.count)
	if n <= 4 {
		return e.field[:n]
	}
	at := uint64(e.order.Uint32(e.field))
	if at+n > uint64(len(e.data)) {
		return nil
	}
	return e.data[at : at+n]
}

// uints are the first values, most at most, of an entry of unsigned integers; nil of any other.
func (e tiffEntry) uints(most int) []uint32 {
	b := e.bytes()
	var values []uint32
	for i := 0; i < most && len(b) > 0; i++ {
		switch e.kind {
		case 1:
			values, b = append(values, uint32(b[0])), b[1:]
		case 3:
			values, b = append(values, uint32(e.order.Uint16(b))), b[2:]
		case 4:
			values, b = append(values, e.order.Uint32(b)), b[4:]
		default:
			return nil
		}
	}
	return values
}
