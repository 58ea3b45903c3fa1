package album

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
)

// Pair is two pictures with the same content.
type Pair struct {
	First, Second           int    // which of their albums
	FirstName, SecondName   string // as Name gives them
	FirstClass, SecondClass string
}

// size is what must be the same before contents are compared.
type size struct {
	bytes         int64
	rows, columns int // of pixels, which are never the same as a file; 0 for files
}

type content struct {
	size size
	sum  [sha256.Size]byte
}

// Duplicates returns the pictures of test that are also in train, whatever their classes, each with the first one there
// that has the same content: the same bytes in the file, or the same pixels in idx files. A picture that was saved
// anew, or scaled, is another one. Accuracy on duplicates tells nothing.
//
// Only files that have their size in common with one of the other album are read, with a goroutine for each core.
func Duplicates(train, test *Album) ([]Pair, error) {
	trainSizes, err := train.sizes()
	if err != nil {
		return nil, err
	}
	testSizes, err := test.sizes()
	if err != nil {
		return nil, err
	}
	inTrain, inTest := map[size]bool{}, map[size]bool{}
	for _, s := range trainSizes {
		inTrain[s] = true
	}
	for _, s := range testSizes {
		inTest[s] = true
	}
	trainContents, err := train.contents(trainSizes, func(s size) bool { return inTest[s] })
	if err != nil {
		return nil, err
	}
	testContents, err := test.contents(testSizes, func(s size) bool { return inTrain[s] })
	if err != nil {
		return nil, err
	}
	first := map[content]int{}
	for i, c := range trainContents {
		if _, again := first[c]; c != (content{}) && !again {
			first[c] = i
		}
	}
	var pairs []Pair
	for k, c := range testContents {
		if i, ok := first[c]; ok {
			pairs = append(pairs, pairOf(train, i, test, k))
		}
	}
	return pairs, nil
}

func pairOf(a *Album, i int, b *Album, k int) Pair {
	return Pair{i, k, a.Name(i), b.Name(k), a.Classes[a.Class(i)], b.Classes[b.Class(k)]}
}

func (a *Album) sizes() ([]size, error) {
	sizes := make([]size, a.Len())
	bad := each(context.Background(), 0, len(sizes), func(i int) error {
		if a.idx != nil {
			sizes[i] = size{int64(a.idx.rows * a.idx.columns), a.idx.rows, a.idx.columns}
			return nil
		}
		info, err := os.Stat(a.items[i].path)
		if err != nil {
			return a.onLine(i, fmt.Errorf("looking for duplicates: %w", err))
		}
		sizes[i].bytes = info.Size()
		return nil
	})
	if len(bad) > 0 {
		return nil, bad[0]
	}
	return sizes, nil
}

// contents reads the pictures whose size asks for it; the others have the zero content.
func (a *Album) contents(sizes []size, read func(size) bool) ([]content, error) {
	contents := make([]content, a.Len())
	bad := each(context.Background(), 0, len(contents), func(i int) error {
		if !read(sizes[i]) {
			return nil
		}
		contents[i].size = sizes[i]
		if a.idx != nil {
			contents[i].sum = sha256.Sum256(a.idx.grey(int(a.items[i].at)))
			return nil
		}
		if err := hashFile(a.items[i].path, &contents[i].sum); err != nil {
			return a.onLine(i, fmt.Errorf("looking for duplicates: %w", err))
		}
		return nil
	})
	if len(bad) > 0 {
		return nil, bad[0]
	}
	return contents, nil
}

func hashFile(path string, sum *[sha256.Size]byte) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	h.Sum(sum[:0])
	return nil
}
