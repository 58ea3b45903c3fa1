package picture

import (
	"errors"
	"fmt"
	"image"
	"io"
	"os"
	"slices"
	"sync"
	"syscall"

	"github.com/thaw-ml/thaw/internal/fserror"
)

// DefaultMaxPixels is the number of pixels above which Decode refuses a picture unless told otherwise. It is
// Pillow's: twice the 89,478,485 (256 MiB in RGB) at which Image.open warns of a decompression bomb. The RGB bytes
// of such a picture take 537 MB.
const DefaultMaxPixels = 178956970

// Options says how to decode; the zero value decodes at full size.
type Options struct {
	// MaxPixels refuses a picture whose header promises more pixels, before memory is taken for them.
	// 0 means DefaultMaxPixels.
	MaxPixels int

	// MinSize, if set, is called once with the size of the picture, before it is decoded, and says how many pixels are
	// wanted of it at least. A JPEG is then decoded at 1/2, 1/4 or 1/8 of its size, the smallest that gives as many,
	// which is much quicker. Other formats, and JPEGs where no libjpeg-turbo is found, are decoded at full size always,
	// and so is all for which it says 0, 0. A scaled decode averages pixels, so it differs from a full one that is
	// resized afterwards.
	MinSize func(width, height int) (minWidth, minHeight int)

	// Box, if set, is called once after MinSize with the size of the picture, and says which part of it is wanted, in pixels
	// of that size; an empty one stands for all. Of a JPEG less is decoded then, with the same pixels: Part of the result says
	// what. That holds the box, and is all of the picture where a part cannot be decoded by itself.
	Box func(width, height int) image.Rectangle

	// Into, if set, is what Decode fills and returns; its pixels' memory is used again. After an error it holds
	// nothing of use.
	Into *Image
}

// Read decodes the picture in a file. Errors name the file.
func Read(path string, o Options) (*Image, error) {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	var m *Image
	err := readFile(path, o.maxPixels(), buf)
	if err == nil {
		m, err = Decode(*buf, o)
	}
	if err != nil {
		return nil, fmt.Errorf("reading picture %s: %w", path, err)
	}
	return m, nil
}

var buffers = sync.Pool{New: func() any { return new([]byte) }}

// openFile opens a picture's file and tells its size. One too large for any picture of maxPixels is refused.
func openFile(path string, maxPixels int) (_ *os.File, size int64, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe without a writer would hold it up
	if err != nil {
		return nil, 0, fserror.WithoutPath(err)
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, fserror.WithoutPath(err)
	}
	if !info.Mode().IsRegular() {
		kind := "a device, pipe or socket"
		if info.IsDir() {
			kind = "a folder"
		}
		return nil, 0, fmt.Errorf("it is %s, not a file", kind)
	}
	const metadata = 64 << 20
	if most := 8*int64(maxPixels) + metadata; info.Size() > most { // 8 bytes a pixel: 16-bit RGBA
		return nil, 0, fmt.Errorf("its %d bytes are more than any picture of %d pixels takes", info.Size(), maxPixels)
	}
	return f, info.Size(), nil
}

// readFile reads a file into buf.
func readFile(path string, maxPixels int, buf *[]byte) error {
	f, size, err := openFile(path, maxPixels)
	if err != nil {
		return err
	}
	defer f.Close()
	*buf = slices.Grow((*buf)[:0], int(size))[:size]
	if _, err := io.ReadFull(f, *buf); err != nil {
		return fmt.Errorf("it became shorter while it was read, or: %w", fserror.WithoutPath(err))
	}
	return nil
}

// Decode decodes the picture in data, which it does not keep. It may be called from several goroutines at once, each
// with an Into of its own.
//
// A picture that is damaged or cut off is an error that says what is wrong; there are no half pictures.
func Decode(data []byte, o Options) (*Image, error) {
	turbo, err := jpegLibrary()
	if err != nil {
		return nil, err
	}
	return decode(data, o, turbo)
}

// scratches holds pictures as they are stored, before they are turned.
var scratches = sync.Pool{New: func() any { return new(Image) }}

// decode is Decode with a decoder for JPEGs, nil for Go's.
func decode(data []byte, o Options, turbo *turbojpeg) (*Image, error) {
	h, err := readOutline(data)
	if err != nil {
		return nil, err
	}
	if err := h.check(len(data), o.maxPixels()); err != nil {
		return nil, fmt.Errorf("%s: %w", names[h.Format], err)
	}
	var want wanted
	if o.MinSize != nil {
		want.minWidth, want.minHeight = o.MinSize(h.Width, h.Height)
	}
	if o.Box != nil {
		want.box = o.Box(h.Width, h.Height).Intersect(image.Rect(0, 0, h.Width, h.Height))
	}
	m := o.Into
	if m == nil {
		m = new(Image)
	}
	stored := m
	if h.Orientation > 1 {
		stored = scratches.Get().(*Image)
		defer scratches.Put(stored)
	}
	stored.Part, stored.Whole = image.Rectangle{}, image.Point{}
	if err := decodeStored(stored, data, h, want, turbo); err != nil {
		return nil, fmt.Errorf("%s of %d x %d pixels: %w", names[h.Format], h.width, h.height, err)
	}
	if h.Orientation > 1 {
		orient(m, stored, h.Orientation)
		m.Part, m.Whole = uprightBox(stored.Part, h.Orientation, stored.Whole.X, stored.Whole.Y), stored.Whole
		if h.Orientation >= 5 {
			m.Whole = image.Pt(stored.Whole.Y, stored.Whole.X)
		}
	}
	m.FullWidth, m.FullHeight = h.Width, h.Height
	return m, nil
}

// wanted is what Options ask for of a picture that is turned upright.
type wanted struct {
	minWidth, minHeight int             // pixels at least, of the whole
	box                 image.Rectangle // at full size; empty: all
}

// decodeStored decodes a picture as it is stored, not turned. Whatever panics in a library becomes an error.
func decodeStored(m *Image, data []byte, h outline, want wanted, turbo *turbojpeg) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("it is damaged in a way that its decoder did not expect: %v", r)
		}
	}()
	switch h.Format {
	case "jpeg":
		return decodeJPEG(m, data, h, want, turbo)
	case "png":
		return decodePNG(m, data, h)
	case "gif":
		return decodeGIF(m, data, h)
	case "bmp":
		return decodeBMP(m, data, h)
	case "webp":
		return decodeWebP(m, h)
	case "tiff":
		return decodeTIFF(m, data, h, turbo)
	case "netpbm":
		return decodeNetpbm(m, data, h)
	}
	panic("no decoder for " + h.Format)
}

var errCutOff = errors.New("it is cut off: the data ends early")

// damaged is what a decoder says of data that it cannot go on with.
func damaged(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errCutOff
	}
	return fmt.Errorf("it is damaged or cut off: %w", err)
}

func (o Options) maxPixels() int {
	if o.MaxPixels == 0 {
		return DefaultMaxPixels
	}
	return o.MaxPixels
}
