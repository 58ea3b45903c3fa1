package report

import (
	"bytes"
	"image"
	"image/jpeg"
	"image/png"
	"strings"

	"golang.org/x/image/draw"
)

// thumbnailSide is the longer side of a picture on the page, in pixels.
const thumbnailSide = 160

// thumbnail makes a small picture of one, as a data URI: a PNG where that is no larger, as of a drawing, or else a
// JPEG. "" stands for a picture without pixels.
func thumbnail(m image.Image) string { return pictureOf(m, thumbnailSide, 1<<20) }

// pictureOf is thumbnail with a longer side of side pixels, in a file of at most so many bytes; "" where it takes more.
func pictureOf(m image.Image, side, most int) string {
	width, height := m.Bounds().Dx(), m.Bounds().Dy()
	if width <= 0 || height <= 0 {
		return ""
	}
	if longer := max(width, height); longer > side {
		width, height = max(1, width*side/longer), max(1, height*side/longer)
	}
	small := image.NewRGBA(image.Rect(0, 0, width, height))
	draw.CatmullRom.Scale(small, small.Bounds(), m, m.Bounds(), draw.Src, nil)
	var asPNG, asJPEG bytes.Buffer
	if png.Encode(&asPNG, small) != nil {
		return ""
	}
	for _, quality := range [...]int{80, 50, 20} {
		asJPEG.Reset()
		if jpeg.Encode(&asJPEG, small, &jpeg.Options{Quality: quality}) != nil {
			return ""
		}
		if asPNG.Len() <= min(asJPEG.Len(), most) || asPNG.Len() < 4<<10 {
			return dataURI("image/png", asPNG.Bytes())
		}
		if asJPEG.Len() <= most {
			return dataURI("image/jpeg", asJPEG.Bytes())
		}
	}
	return ""
}

// isPicture reports whether a text is what pictureOf makes. Nothing else is taken for a picture.
func isPicture(uri string) bool {
	return strings.HasPrefix(uri, dataURI("image/png", nil)) || strings.HasPrefix(uri, dataURI("image/jpeg", nil))
}
