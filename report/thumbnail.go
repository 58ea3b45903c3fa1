package report

import (
	"bytes"
	"image"
	"image/jpeg"
	"image/png"

	"golang.org/x/image/draw"
)

// thumbnailSide is the longer side of a picture on the page, in pixels.
const thumbnailSide = 160

// thumbnail makes a small picture of one, as a data URI: a PNG where that is no larger, as of a drawing, or else a
// JPEG. "" stands for a picture without pixels.
func thumbnail(m image.Image) string {
	width, height := m.Bounds().Dx(), m.Bounds().Dy()
	if width <= 0 || height <= 0 {
		return ""
	}
	if longer := max(width, height); longer > thumbnailSide {
		width, height = max(1, width*thumbnailSide/longer), max(1, height*thumbnailSide/longer)
	}
	small := image.NewRGBA(image.Rect(0, 0, width, height))
	draw.CatmullRom.Scale(small, small.Bounds(), m, m.Bounds(), draw.Src, nil)
	var asPNG, asJPEG bytes.Buffer
	if png.Encode(&asPNG, small) != nil || jpeg.Encode(&asJPEG, small, &jpeg.Options{Quality: 80}) != nil {
		return ""
	}
	if asPNG.Len() <= asJPEG.Len() || asPNG.Len() < 4<<10 {
		return dataURI("image/png", asPNG.Bytes())
	}
	return dataURI("image/jpeg", asJPEG.Bytes())
}
