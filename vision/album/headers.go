package album

import (
	"context"
	"fmt"

	"github.com/thaw-ml/thaw/vision/picture"
)

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
		if _, err := picture.ReadHeader(a.items[i].path, a.maxPixels); err != nil {
			return a.onLine(i, fmt.Errorf("reading picture %s: %w", a.Name(i), err))
		}
		return nil
	})
}
