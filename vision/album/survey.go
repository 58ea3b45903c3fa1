package album

import (
	"context"
	"sync"

	"github.com/thaw-ml/thaw/vision/picture"
)

// Survey decodes every picture and hands it, or the error that it cannot be read, to see, from so many goroutines at
// once and in no order. JPEGs are decoded at a part of their size, with atLeast pixels on either side where they have
// as many. The picture's memory is used again when see returns. Only ctx's end is an error.
func (a *Album) Survey(ctx context.Context, workers, atLeast int, see func(i int, m *picture.Image, err error)) error {
	pool := sync.Pool{New: func() any { return new(picture.Image) }}
	each(ctx, workers, a.Len(), func(i int) error {
		into := pool.Get().(*picture.Image)
		defer pool.Put(into)
		m, err := a.Picture(i, picture.Options{Into: into, MinSize: func(int, int) (int, int) { return atLeast, atLeast }})
		see(i, m, err)
		return nil
	})
	return ctx.Err()
}
