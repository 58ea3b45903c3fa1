package picture

import (
	"bytes"
	"image"
	"testing"
)

func seeds(f *testing.F) {
	list, err := goldens()
	if err != nil {
		f.Fatal(err)
	}
	for _, g := range list {
		if len(g.data) < 6000 {
			f.Add(g.data)
		}
	}
}

// Whatever the bytes are, the header reader ends without a panic, and what it tells can be so.
func FuzzHeader(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := DecodeHeader(data)
		if err != nil {
			if h != (Header{}) {
				t.Error("a header beside an error:", h)
			}
			return
		}
		if h.Width <= 0 || h.Height <= 0 || h.Orientation < 1 || h.Orientation > 8 || names[h.Format] == "" {
			t.Error(h)
		}
	})
}

// Whatever the bytes are, there is a picture of the size that the header tells, or an error, from either JPEG decoder.
func FuzzDecode(f *testing.F) {
	seeds(f)
	turbo, err := jpegLibrary()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		h, headerErr := DecodeHeader(data)
		for _, decoder := range []*turbojpeg{nil, turbo} {
			m, err := decode(data, Options{MaxPixels: 1 << 16}, decoder)
			if err != nil {
				continue
			}
			if headerErr != nil || m.Width != h.Width || m.Height != h.Height || len(m.Pix) != 3*m.Width*m.Height {
				t.Error(m.Width, m.Height, len(m.Pix), h, headerErr)
			}
		}
		if headerErr != nil || h.Format != "jpeg" || turbo == nil {
			return
		}
		// A part of a JPEG is a part of the whole, and there is an error where the whole has one.
		whole, wholeErr := decode(data, Options{MaxPixels: 1 << 16}, turbo)
		box := image.Rect(h.Width/3, h.Height/4, h.Width/3+h.Width/2+1, h.Height/4+h.Height/3+1)
		part, err := decode(data, Options{MaxPixels: 1 << 16, Box: boxed(box)}, turbo)
		if (err == nil) != (wholeErr == nil) {
			t.Fatal(err, "of a part,", wholeErr, "of the whole")
		}
		if err != nil || part.Part.Empty() {
			return
		}
		box = box.Intersect(image.Rectangle{Max: part.Whole})
		for y := box.Min.Y; y < box.Max.Y; y++ {
			at, n := 3*((y-part.Part.Min.Y)*part.Width+box.Min.X-part.Part.Min.X), 3*box.Dx()
			if !bytes.Equal(part.Pix[at:at+n], whole.Pix[3*(y*whole.Width+box.Min.X):][:n]) {
				t.Fatal("other pixels in row", y, "of", part.Part)
			}
		}
	})
}
