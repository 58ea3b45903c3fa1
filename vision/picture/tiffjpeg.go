package picture

import (
	"fmt"
	"math"
)

// tiffPieces are the strips or tiles of a TIFF.
type tiffPieces struct {
	width, height   int // of a piece; the last strip may be lower
	offsets, counts []uint32
	tables          []byte // JPEG's, that all pieces share: a file of its own, or nil
}

func (h *outline) readPieces(data []byte) (p tiffPieces, err error) {
	p.width, p.height = h.width, h.height
	tiffEntries(data, h.tiff.order, h.tiff.directory, func(e tiffEntry) {
		first := func() int {
			if v := e.uints(1); len(v) == 1 {
				return int(v[0])
			}
			return 0
		}
		switch e.tag {
		case 273, 324:
			p.offsets = e.uints(math.MaxInt)
		case 279, 325:
			p.counts = e.uints(math.MaxInt)
		case 278: // rows of a strip; all of them where it says 2^32-1
			p.height = min(first(), h.height)
		case 322:
			p.width = first()
		case 323:
			p.height = first()
		case 347:
			p.tables = e.bytes()
		}
	})
	if p.width < 1 || p.height < 1 || p.width > 1<<16 || p.height > 1<<16 {
		return p, fmt.Errorf("its parts have %d x %d pixels", p.width, p.height)
	}
	across, down := (h.width+p.width-1)/p.width, (h.height+p.height-1)/p.height
	if n := across * down; len(p.offsets) != n || len(p.counts) != n {
		return p, fmt.Errorf("it has %d parts, with %d lengths, in place of %d", len(p.offsets), len(p.counts), n)
	}
	return p, nil
}

// decodeTIFFJPEG decodes a picture of which each strip or tile is a JPEG (Adobe Photoshop TIFF Technical Notes of 2002,
// "TIFF Technical Note #2"), as libtiff does: each by itself, so that colour is not upsampled across their edges.
func decodeTIFFJPEG(m *Image, data []byte, h outline, turbo *turbojpeg) error {
	p, err := h.readPieces(data)
	if err != nil {
		return err
	}
	m.resize(h.width, h.height)
	piece := scratches.Get().(*Image)
	defer scratches.Put(piece)
	across := (h.width + p.width - 1) / p.width
	for i, offset := range p.offsets {
		end := uint64(offset) + uint64(p.counts[i])
		if end > uint64(len(data)) {
			return errCutOff
		}
		x, y := i%across*p.width, i/across*p.height
		wide, high := min(p.width, h.width-x), min(p.height, h.height-y)
		file := h.tiff.wholeJPEG(p.tables, data[offset:end])
		part, err := readOutline(file)
		if err != nil {
			return fmt.Errorf("its part %d: %w", i, err)
		}
		if part.Format != "jpeg" || part.width < wide || part.height < high || part.width > p.width || part.height > p.height {
			return fmt.Errorf("its part %d is no JPEG of %d x %d pixels", i, wide, high)
		}
		if err := part.check(len(file), p.width*p.height); err != nil {
			return fmt.Errorf("its part %d: %w", i, err)
		}
		if err := decodeJPEG(piece, file, part, wanted{}, turbo); err != nil {
			return fmt.Errorf("its part %d: %w", i, err)
		}
		for row := range high {
			copy(m.Pix[3*((y+row)*m.Width+x):][:3*wide], piece.Pix[3*row*piece.Width:])
		}
	}
	return nil
}

// wholeJPEG puts the tables that parts share before a part, and Adobe's mark, which says what its colours are.
func (t tiffOutline) wholeJPEG(tables, part []byte) []byte {
	const mark = "\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00"
	file := append([]byte("\xff\xd8"), mark...)
	if t.ycc {
		file = append(file, 1)
	} else {
		file = append(file, 0)
	}
	if len(tables) > 4 { // without its SOI and EOI
		file = append(file, tables[2:len(tables)-2]...)
	}
	return append(file, part[min(2, len(part)):]...)
}
