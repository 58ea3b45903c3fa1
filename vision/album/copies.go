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
	lists := make([]keyed, len(albums))
	for n, a := range albums {
		lists[n] = a
	}
	return copyKeys(ctx, lists)
}

// FileCopyKeys is CopyKeys of lists of files.
func FileCopyKeys(ctx context.Context, files ...[]string) (keys [][]string, unread []error, err error) {
	lists := make([]keyed, len(files))
	for n, paths := range files {
		lists[n] = fileList(paths)
	}
	return copyKeys(ctx, lists)
}

// keyed are pictures that are told apart by ever more of them. A key is "" beside an error.
type keyed interface {
	Len() int
	sizeKey(i int) (string, error)
	startKey(i int) (string, error)
	contentKey(i int) (string, error)
	onLine(i int, err error) error // says which picture an error is about
}

func copyKeys(ctx context.Context, lists []keyed) (keys [][]string, unread []error, err error) {
	keys = make([][]string, len(lists))
	for n, l := range lists {
		keys[n] = make([]string, l.Len())
		for i := range keys[n] {
			keys[n][i] = "?"
		}
	}
	// Each round reads more of the pictures whose keys are still shared.
	for _, read := range []func(l keyed, i int) (string, error){keyed.sizeKey, keyed.startKey, keyed.contentKey} {
		for n, l := range lists {
			unread = append(unread, each(ctx, 0, l.Len(), func(i int) (err error) {
				if keys[n][i] == "" {
					return nil
				}
				if keys[n][i], err = read(l, i); err != nil {
					return l.onLine(i, fmt.Errorf("looking for duplicates: %w", err))
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

// fileList are pictures by their paths.
type fileList []string

func (l fileList) Len() int                         { return len(l) }
func (l fileList) sizeKey(i int) (string, error)    { return fileSizeKey(l[i]) }
func (l fileList) startKey(i int) (string, error)   { return hashedFile(l[i], startBytes) }
func (l fileList) contentKey(i int) (string, error) { return hashedFile(l[i], -1) }
func (fileList) onLine(_ int, err error) error      { return err }

func (a *Album) sizeKey(i int) (string, error) {
	if a.idx != nil {
		return fmt.Sprint("idx ", a.idx.rows, " ", a.idx.columns), nil
	}
	return fileSizeKey(a.items[i].path)
}

func fileSizeKey(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	return fmt.Sprint("file ", info.Size()), nil
}

func (a *Album) startKey(i int) (string, error) { return a.hashed(i, startBytes) }

func (a *Album) contentKey(i int) (string, error) { return a.hashed(i, -1) }

// hashed is a key of the first bytes of a picture, all of them where most is below 0.
func (a *Album) hashed(i int, most int64) (string, error) {
	if a.idx == nil {
		return hashedFile(a.items[i].path, most)
	}
	key, err := a.sizeKey(i)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(a.idx.grey(int(a.items[i].at)))
	return key + " " + hex.EncodeToString(sum[:]), nil
}

// hashedFile is hashed of a file.
func hashedFile(path string, most int64) (string, error) {
	key, err := fileSizeKey(path)
	if err != nil {
		return "", err
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	var r io.Reader = f
	if most >= 0 {
		r = io.LimitReader(f, most)
	}
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return "", err
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
