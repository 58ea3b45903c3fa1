package picture_test

import (
	"fmt"
	"os"

	"github.com/thaw-ml/thaw/vision/picture"
)

// The header tells the size before any memory is taken for pixels.
func ExampleDecode() {
	data, err := os.ReadFile("testdata/exif-6.jpg") // stored lying, to be turned right
	if err != nil {
		fmt.Println(err)
		return
	}
	h, err := picture.DecodeHeader(data)
	if err != nil {
		fmt.Println(err)
		return
	}
	m, err := picture.Decode(data, picture.Options{MaxPixels: 1 << 20})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(h.Format, h.Width, h.Height, h.Orientation)
	fmt.Println(m.Width, m.Height, len(m.Pix), "bytes")
	// Output:
	// jpeg 19 30 6
	// 19 30 1710 bytes
}
