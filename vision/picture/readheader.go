package picture

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"syscall"

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
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe without a writer would hold it up
	if err != nil {
		return Header{}, fserror.WithoutPath(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Header{}, fserror.WithoutPath(err)
	}
	if !info.Mode().IsRegular() {
		return Header{}, errors.New("it is not a file")
	}
	const metadata = 64 << 20
	if most := 8*int64(maxPixels) + metadata; info.Size() > most { // as Read says
		return Header{}, fmt.Errorf("its %d bytes are more than any picture of %d pixels takes", info.Size(), maxPixels)
	}
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
	if err := read(min(info.Size(), headerBytes)); err != nil {
		return Header{}, err
	}
	h, err := DecodeHeader(*buf)
	if err != nil && info.Size() > headerBytes {
		if err := read(info.Size()); err != nil {
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
