package picture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"strings"
)

type jpegOutline struct {
	components int
	lossless   bool
	quantized  bool // it has a quantization table
	unit       int  // pixels of the width of what is decoded at once, an MCU; 0: not known
}

// readJPEG reads the segments up to the first scan. ISO/IEC 10918-1 (ITU T.81), annex B.
func (h *outline) readJPEG(data []byte) error {
	var meta metadata
	var exif []byte
	at := 2
	for {
		i := bytes.IndexByte(data[at:], 0xff) // what lies before a marker is skipped, as libjpeg does
		if i < 0 {
			return errShortHeader
		}
		for at += i; at < len(data) && data[at] == 0xff; at++ { // fill bytes
		}
		if at >= len(data) {
			return errShortHeader
		}
		marker := data[at]
		at++
		if marker == 0 || marker == 0x01 || marker >= 0xd0 && marker <= 0xd8 {
			continue
		}
		if marker == 0xd9 {
			return errors.New("it ends before a picture begins")
		}
		if at+2 > len(data) {
			return errShortHeader
		}
		n := int(binary.BigEndian.Uint16(data[at:]))
		if n < 2 || at+n > len(data) {
			return fmt.Errorf("its segment %02x says that it has %d bytes, %d are left", marker, n, len(data)-at)
		}
		segment := data[at+2 : at+n]
		at += n
		switch {
		case marker == 0xda: // start of scan
			if h.jpeg.components == 0 {
				return errors.New("its first scan comes before its frame header")
			}
			if !h.jpeg.quantized && !h.jpeg.lossless {
				return errors.New("it has no quantization table")
			}
			meta.readEXIF(exif)
			h.Orientation = meta.orientation()
			h.atMost = 64 * 8 * int64(len(data)) // a block of 8 x 8 pixels takes a bit at least
			return nil
		case marker == 0xc4:
			if !huffmanTables(segment) {
				return errors.New("its Huffman tables are damaged")
			}
		case marker == 0xdb:
			h.jpeg.quantized = true
		case marker == 0xe1 && bytes.HasPrefix(segment, []byte("Exif\x00\x00")):
			if exif == nil {
				exif = segment
			} else { // one block in several segments
				exif = append(bytes.Clone(exif), segment[6:]...)
			}
		case marker == 0xe1 && bytes.HasPrefix(segment, []byte("http://ns.adobe.com/xap/1.0/\x00")):
			meta.readXMP(segment)
		case marker >= 0xc0 && marker <= 0xcf && marker != 0xc8 && marker != 0xcc:
			if h.jpeg.components > 0 {
				return errors.New("it has two frame headers")
			}
			if len(segment) < 6 || segment[5] == 0 || len(segment) != 6+3*int(segment[5]) {
				return errors.New("its frame header is damaged")
			}
			if segment[0] != 8 {
				return fmt.Errorf("it has %d bits a sample; only those with 8 can be read", segment[0])
			}
			if marker >= 0xc9 {
				return errors.New("it is arithmetic-coded, which few decoders read: save it anew")
			}
			h.height, h.width = int(binary.BigEndian.Uint16(segment[1:])), int(binary.BigEndian.Uint16(segment[3:]))
			h.jpeg.components, h.jpeg.lossless = int(segment[5]), marker == 0xc3
			for c := range h.jpeg.components { // the largest of the horizontal sampling factors
				h.jpeg.unit = max(h.jpeg.unit, 8*int(segment[6+3*c+1]>>4))
			}
			if h.jpeg.components == 1 {
				h.jpeg.unit = 8 // whatever its factors
			}
		}
	}
}

// huffmanTables tells whether a segment holds tables of codes that there can be: Go's decoder does not look.
func huffmanTables(segment []byte) bool {
	for len(segment) > 0 {
		if len(segment) < 17 {
			return false
		}
		values, taken := 0, 0 // of the 65536 codes of 16 bits, those that begin with a code of the table
		for i, n := range segment[1:17] {
			values += int(n)
			taken += int(n) << (15 - i)
		}
		if taken > 1<<16 || len(segment) < 17+values {
			return false
		}
		segment = segment[17+values:]
	}
	return true
}

func decodeJPEG(m *Image, data []byte, h outline, want wanted, turbo *turbojpeg) error {
	if turbo == nil {
		return decodeJPEGInGo(m, data, h)
	}
	minWidth, minHeight := want.minWidth, want.minHeight
	if h.Orientation >= 5 {
		minWidth, minHeight = minHeight, minWidth
	}
	scale := jpegScale(h.width, h.height, minWidth, minHeight)
	width, height := (h.width+scale-1)/scale, (h.height+scale-1)/scale
	decompress := func(pix []byte, format int) (warning string, err error) {
		return turbo.decompress(pix, width, height, format, data)
	}
	if region := jpegRegion(h, storedBox(want.box, h.Orientation, h.width, h.height), scale); !region.Empty() {
		if partial := turbo.partial(data, region, scale); partial != nil {
			defer partial.close()
			m.Part, m.Whole = region, image.Pt(width, height)
			width, height, decompress = region.Dx(), region.Dy(), partial.decompress
		}
	}
	m.resize(width, height)
	var warning string
	var err error
	if h.jpeg.components == 4 {
		inks := scratches.Get().(*Image)
		defer scratches.Put(inks)
		inks.resize(m.Width, (4*m.Height+2)/3) // as bytes: 4 for each pixel
		warning, err = decompress(inks.Pix, pixelCMYK)
		cmykToRGB(m.Pix, inks.Pix[:4*m.Width*m.Height])
	} else {
		warning, err = decompress(m.Pix, pixelRGB)
	}
	if err == nil && warning != "" {
		err = judge(warning, data)
	}
	return err
}

// jpegRegion is what is decoded for a box of a picture as it is stored, in pixels at 1/scale of its size: empty where that is
// all. Colour that was subsampled is made of neighbours too, so it is more than the box. It begins where a column of MCUs
// does, and goes down to the picture's end: what damages a file is found wherever it is.
func jpegRegion(h outline, box image.Rectangle, scale int) image.Rectangle {
	if box.Empty() || h.jpeg.unit == 0 || h.jpeg.lossless {
		return image.Rectangle{}
	}
	const margin = 4 // pixels; one would do for colour, another for rounding the box
	all := image.Rect(0, 0, (h.width+scale-1)/scale, (h.height+scale-1)/scale)
	unit := max(h.jpeg.unit/scale, 1)
	region := image.Rect(max(box.Min.X/scale-margin, 0)/unit*unit, box.Min.Y/scale-margin, (box.Max.X+scale-1)/scale+margin, all.Max.Y)
	if region = region.Intersect(all); region == all {
		return image.Rectangle{}
	}
	return region
}

// jpegScale is the largest divisor that leaves the picture at least the given size, 1 if none is given.
func jpegScale(width, height, minWidth, minHeight int) int {
	if minWidth <= 0 && minHeight <= 0 {
		return 1
	}
	for _, scale := range []int{8, 4, 2} {
		if (width+scale-1)/scale >= minWidth && (height+scale-1)/scale >= minHeight {
			return scale
		}
	}
	return 1
}

// judge tells whether a picture that libjpeg warned about is damaged. Some warnings are about what is around the
// pixels, and Pillow takes such pictures; but libjpeg tells the first warning only, so what follows it is left to Go's
// decoder, which stops at what damages pixels.
func judge(warning string, data []byte) error {
	for _, harmless := range []string{"extraneous bytes before marker", "Unknown Adobe color transform", "unknown JFIF revision"} {
		if strings.Contains(warning, harmless) {
			if _, err := jpeg.Decode(bytes.NewReader(data)); err != nil {
				return fmt.Errorf("it is damaged or cut off: %s; %w", warning, err)
			}
			return nil
		}
	}
	if strings.Contains(warning, "Premature end of JPEG file") {
		return errCutOff
	}
	return damaged(errors.New(warning))
}

// maxScans is libjpeg-turbo's limit under TJFLAG_LIMITSCANS: a progressive file of many scans takes minutes to decode.
const maxScans = 500

func decodeJPEGInGo(m *Image, data []byte, h outline) error {
	if bytes.Count(data, []byte{0xff, 0xda}) > maxScans {
		return fmt.Errorf("it has more than %d scans", maxScans)
	}
	img, err := jpeg.Decode(bytes.NewReader(data))
	if err != nil {
		return damaged(err)
	}
	if size := img.Bounds().Size(); size != image.Pt(h.width, h.height) {
		return fmt.Errorf("it has %d x %d pixels, its header says otherwise", size.X, size.Y)
	}
	m.resize(h.width, h.height)
	switch img := img.(type) {
	case *image.YCbCr:
		yccToRGB(m, img)
	case *image.CMYK:
		row := make([]byte, 4*h.width)
		for y := range h.height {
			for i, v := range img.Pix[y*img.Stride:][:len(row)] {
				row[i] = 255 - v
			}
			cmykToRGB(m.Pix[3*h.width*y:][:3*h.width], row)
		}
	default:
		return toRGB(m, img)
	}
	return nil
}

// cmykToRGB converts pixels of four inks, stored inverted as Adobe's programs do (255 means no ink), as Pillow does:
// in its Convert.c, cmyk2rgb.
func cmykToRGB(rgb, inks []byte) {
	for ; len(inks) >= 4; inks, rgb = inks[4:], rgb[3:] {
		light := int(inks[3])
		for c := range 3 {
			p := (255-int(inks[c]))*light + 128
			rgb[c] = byte(light - ((p>>8)+p)>>8)
		}
	}
}
