package album

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"

	"github.com/thaw-ml/thaw/internal/fserror"
	"github.com/thaw-ml/thaw/vision/picture"
)

// headerBytes are read of a file first. They hold the header, but for TIFF, whose directory may lie at the end, WebP,
// whose length is compared with what it says, and JPEGs with much ahead of the picture: those are read on.
const headerBytes = 64 << 10

// CheckHeaders reads the header of each picture, with so many goroutines (one for each core if workers is below 1), and
// returns an error for each that cannot be read or that has too many pixels, in the album's order, with its file and,
// for a table, its line. It decodes nothing: a picture that is damaged further on is found by Picture only.
//
// When ctx is done before the end, its error is the last one. An idx file was checked when it was opened.
func (a *Album) CheckHeaders(ctx context.Context, workers int) (bad []error) {
	if a.idx != nil {
		return nil
	}
	return each(ctx, workers, a.Len(), func(i int) error {
		if err := a.checkHeader(a.items[i].path); err != nil {
			return a.onLine(i, fmt.Errorf("reading picture %s: %w", a.Name(i), err))
		}
		return nil
	})
}

var buffers = sync.Pool{New: func() any { return new([]byte) }}

func (a *Album) checkHeader(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fserror.WithoutPath(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fserror.WithoutPath(err)
	}
	if !info.Mode().IsRegular() {
		return errors.New("it is not a file")
	}
	const metadata = 64 << 20
	if most := 8*int64(a.maxPixels) + metadata; info.Size() > most { // as picture.Read says
		return fmt.Errorf("its %d bytes are more than any picture of %d pixels takes", info.Size(), a.maxPixels)
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
		return err
	}
	h, err := picture.DecodeHeader(*buf)
	if err != nil && info.Size() > headerBytes {
		if err := read(info.Size()); err != nil {
			return err
		}
		h, err = picture.DecodeHeader(*buf)
	}
	if err != nil {
		return err
	}
	return tooLarge(h.Width, h.Height, a.maxPixels)
}
