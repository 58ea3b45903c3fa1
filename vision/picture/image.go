// Package picture reads picture files into 8-bit RGB.
package picture

// Image is a picture in 8-bit RGB: rows from the top, pixels from the left, without gaps.
type Image struct {
	Width, Height int
	Pix           []byte // 3*Width*Height
}
