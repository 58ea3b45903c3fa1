package album

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
)

// startBytes are read of files of equal sizes first: most differ there.
const startBytes = 16 << 10

// CopyKeys gives a key for each picture of each album that is equal for pictures with the same content: the same bytes
// in the file, or the same pixels in idx files. A picture that no other can be a copy of, by its size or its first
// bytes, has the empty key and is not read further; neither is one that cannot be read. unread has an error for each of
// those, err is ctx's end. Pictures are read with a goroutine for each core.
func CopyKeys(ctx context.Context, albums ...*Album) (keys [][]string, unread []error, err error) {
	keys = make([][]string, len(albums))
	for n, a := range albums {
		keys[n] = make([]string, a.Len())
		for i := range keys[n] {
			keys[n][i] = "?"
		}
	}
	// Each round reads more of the pictures whose keys are still shared.
	for _, read := range []func(a *Album, i int) (string, error){(*Album).sizeKey, (*Album).startKey, (*Album).contentKey} {
		for n, a := range albums {
			unread = append(unread, each(ctx, 0, a.Len(), func(i int) (err error) {
				if keys[n][i] == "" {
					return nil
				}
				if keys[n][i], err = read(a, i); err != nil {
					return a.onLine(i, fmt.Errorf("looking for duplicates: %w", err))
				}
				return nil
			})...)
		}
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		count := map[string]int{}
		for _, list := range keys {
			for _, key := range list {
				count[key]++
			}
		}
		for _, list := range keys {
			for i, key := range list {
				if count[key] < 2 {
					list[i] = ""
				}
			}
		}
	}
	return keys, unread, nil
}

// sizeKey, startKey and contentKey tell pictures apart by ever more of them; "" beside an error.

func (a *Album) sizeKey(i int) (string, error) {
	if a.idx != nil {
		return fmt.Sprint("idx ", a.idx.rows, " ", a.idx.columns), nil
	}
	info, err := os.Stat(a.items[i].path)
	if err != nil {
		return "", err
	}
	return fmt.Sprint("file ", info.Size()), nil
}

func (a *Album) startKey(i int) (string, error) { return a.hashed(i, startBytes) }

func (a *Album) contentKey(i int) (string, error) { return a.hashed(i, -1) }

// hashed is a key of the first bytes of a picture, all of them where most is below 0.
func (a *Album) hashed(i int, most int64) (string, error) {
	key, err := a.sizeKey(i)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	if a.idx != nil {
		h.Write(a.idx.grey(int(a.items[i].at)))
	} else {
		f, err := os.Open(a.items[i].path)
		if err != nil {
			return "", err
		}
		defer f.Close()
		var r io.Reader = f
		if most >= 0 {
			r = io.LimitReader(f, most)
		}
		if _, err := io.Copy(h, r); err != nil {
			return "", err
		}
	}
	return key + " " + hex.EncodeToString(h.Sum(nil)), nil
}

// Where tells a person where picture i comes from: as Name, and for one of a table with the table's line before it, as
// in "train.csv:12 cats/1.jpg".
func (a *Album) Where(i int) string {
	if !a.table {
		return a.Name(i)
	}
	return fmt.Sprintf("%s:%d %s", a.Source, a.items[i].at, a.items[i].path)
}
