package picture

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// Header is what a picture's header tells.
type Header struct {
	Format        string // "jpeg", "png", "gif", "bmp", "webp", "tiff" or "netpbm"
	Width, Height int    // of the picture as Decode gives it at full size: after it was turned
	Orientation   int    // how it is stored, as EXIF counts: 1 upright, 2..8 turned or mirrored
}

// DecodeHeader reads the header of the picture in data. It decodes no pixels, and does not tell whether they can be.
func DecodeHeader(data []byte) (Header, error) {
	h, err := readOutline(data)
	return h.Header, err
}

// outline is what the headers tell a decoder.
type outline struct {
	Header
	width, height int   // as stored
	atMost        int64 // pixels that a file of this length can hold, however well they are compressed; 0: no limit known

	jpeg jpegOutline
	gif  gifOutline
	webp webpOutline
	tiff tiffOutline

	png    pngOutline
	netpbm netpbmOutline
}

var names = map[string]string{
	"jpeg": "JPEG", "png": "PNG", "gif": "GIF", "bmp": "BMP", "webp": "WebP", "tiff": "TIFF",
	"netpbm": "PBM, PGM or PPM",
}

func readOutline(data []byte) (outline, error) {
	var h outline
	var err error
	starts := func(s string) bool { return len(data) >= len(s) && string(data[:len(s)]) == s }
	switch {
	case starts("\xff\xd8\xff"):
		h.Format, err = "jpeg", h.readJPEG(data)
	case starts(pngSignature):
		h.Format, err = "png", h.readPNG(data)
	case starts("GIF87a"), starts("GIF89a"):
		h.Format, err = "gif", h.readGIF(data)
	case starts("BM"):
		h.Format, err = "bmp", h.readBMP(data)
	case starts("RIFF") && len(data) >= 12 && string(data[8:12]) == "WEBP":
		h.Format, err = "webp", h.readWebP(data)
	case starts("II*\x00"), starts("MM\x00*"):
		h.Format, err = "tiff", h.readTIFF(data)
	case len(data) >= 3 && data[0] == 'P' && data[1] >= '1' && data[1] <= '6' && strings.IndexByte(" \t\n\v\f\r", data[2]) >= 0:
		h.Format, err = "netpbm", h.readNetpbm(data)
	default:
		return outline{}, notAPicture(data)
	}
	if err == nil && (h.width <= 0 || h.height <= 0) {
		err = fmt.Errorf("its header says %d x %d pixels", h.width, h.height)
	}
	if err != nil {
		return outline{}, fmt.Errorf("%s: %w", names[h.Format], err)
	}
	if h.Orientation < 1 || h.Orientation > 8 {
		h.Orientation = 1
	}
	h.Width, h.Height = h.width, h.height
	if h.Orientation >= 5 {
		h.Width, h.Height = h.height, h.width
	}
	return h, nil
}

// check refuses a picture that is too large, or that cannot be in so few bytes: what a header promises is not
// believed with memory.
func (h *outline) check(length, maxPixels int) error {
	if h.width > maxPixels/h.height {
		return fmt.Errorf("its header promises %d x %d pixels, more than the %d that are allowed (MaxPixels)",
			h.width, h.height, maxPixels)
	}
	if n := int64(h.width) * int64(h.height); h.atMost > 0 && n > h.atMost {
		return fmt.Errorf("its header promises %d x %d pixels, which its %d bytes cannot hold: it is cut off or damaged",
			h.width, h.height, length)
	}
	return nil
}

var errShortHeader = errors.New("its header is cut off")

// notAPicture says what the data looks like instead.
func notAPicture(data []byte) error {
	const want = "want JPEG, PNG, GIF, BMP, WebP, TIFF or PPM"
	if len(data) == 0 {
		return errors.New("it is empty: " + want)
	}
	if len(data) >= 12 && string(data[4:8]) == "ftyp" {
		return fmt.Errorf("it is an ISO media file (%q: HEIC, AVIF or a video): %s", strings.TrimSpace(string(data[8:12])), want)
	}
	if kind := http.DetectContentType(data); kind != "application/octet-stream" {
		return fmt.Errorf("it is no picture that can be read (%s): %s", kind, want)
	}
	return fmt.Errorf("it is no picture (it starts with % x): %s", bytes.Clone(data[:min(len(data), 8)]), want)
}
