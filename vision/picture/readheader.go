package picture

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/thaw-ml/thaw/internal/fserror"
)

// headerBytes are read of a file first. They hold the header, but for TIFF, whose directory may lie at the end, WebP,
// whose length is compared with what it says, and JPEGs with much ahead of the picture: those are read on.
const headerBytes = 64 << 10

// ReadHeader reads the header of the picture in a file, and of most files no more than that. A picture of more than
// maxPixels is an error; 0 means DefaultMaxPixels. Pixels are not decoded: a picture that is damaged further on is
// found by Read only. Errors do not name the file.
func ReadHeader(path string, maxPixels int) (Header, error) {
	if maxPixels == 0 {
		maxPixels = DefaultMaxPixels
	}
	f, size, err := openFile(path, maxPixels)
	if err != nil {
		return Header{}, err
	}
	defer f.Close()
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	read := func(n int64) error {
		*buf = slices.Grow((*buf)[:0], int(n))[:n]
		if _, err := f.ReadAt(*buf, 0); err == io.EOF {
			return errors.New("it became shorter while it was read")
		} else if err != nil {
			return fserror.WithoutPath(err)
		}
		return nil
	}
	if err := read(min(size, headerBytes)); err != nil {
		return Header{}, err
	}
	h, err := DecodeHeader(*buf)
	if err != nil && size > headerBytes {
		if err := read(size); err != nil {
			return Header{}, err
		}
		h, err = DecodeHeader(*buf)
	}
	if err != nil {
		return Header{}, err
	}
	if h.Width > maxPixels/h.Height {
		return Header{}, fmt.Errorf("its header promises %d x %d pixels, more than the %d that are allowed (MaxPixels)",
			h.Width, h.Height, maxPixels)
	}
	return h, nil
}
