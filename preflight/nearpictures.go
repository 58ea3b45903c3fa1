package preflight

import (
	"context"
	"math/bits"
)

// hashSide is the side of the grid that a picture is hashed on: 16 x 16 differences make 256 bits.
const hashSide = 16

// Two pictures are nearly the same when so many of the 256 bits of their hashes differ at most, and their thumbnails
// differ by so many of 255 levels on average. Both hold for a JPEG that was saved anew at quality 50, and for one at a
// quarter of its size; not for crops, turned or recoloured pictures. The second is for plain pictures, whose hashes
// tell little.
const (
	nearBits   = 8
	nearLevels = 6
)

// PictureHash tells whether two pictures look the same: a difference hash (Krawetz 2013), each bit of which says
// whether a point of a coarse grid is brighter than its left neighbour, and the grey values of that grid.
type PictureHash struct {
	bits  [hashSide * hashSide / 64]uint64
	grey  [hashSide * (hashSide + 1)]uint8
	known bool
}

// HashedAtLeast is the size at which a picture is decoded at least for its hash, in pixels of either side: every point
// of the grid is then the mean of a few.
const HashedAtLeast = 4 * (hashSide + 1)

// HashedFrom is the length in pixels of a picture's shorter side from which on a hash tells anything: smaller ones are
// compared as exact copies alone.
const HashedFrom = 32

// HashPicture hashes a picture of 8-bit RGB pixels, [height, width, 3], rows from the top.
func HashPicture(width, height int, pixels []byte) (h PictureHash) {
	if width <= 0 || height <= 0 || len(pixels) < 3*width*height {
		return h
	}
	const columns = hashSide + 1
	for y := range hashSide {
		top, bottom := span(y, hashSide, height)
		for x := range columns {
			left, right := span(x, columns, width)
			sum := 0
			for row := top; row < bottom; row++ {
				for at := 3 * (row*width + left); at < 3*(row*width+right); at += 3 {
					sum += 299*int(pixels[at]) + 587*int(pixels[at+1]) + 114*int(pixels[at+2]) // ITU-R BT.601
				}
			}
			h.grey[y*columns+x] = uint8(sum / (1000 * (bottom - top) * (right - left)))
		}
		for x := range hashSide {
			if h.grey[y*columns+x+1] > h.grey[y*columns+x] {
				bit := y*hashSide + x
				h.bits[bit/64] |= 1 << (bit % 64)
			}
		}
	}
	h.known = true
	return h
}

// span is the pixels, from and to, that part i of n covers; at least one.
func span(i, n, pixels int) (from, to int) {
	from, to = i*pixels/n, (i+1)*pixels/n
	return from, max(to, from+1)
}

func (h *PictureHash) near(o *PictureHash) bool {
	differ := 0
	for i := range h.bits {
		if differ += bits.OnesCount64(h.bits[i] ^ o.bits[i]); differ > nearBits {
			return false
		}
	}
	sum := 0
	for i := range h.grey {
		sum += max(int(h.grey[i])-int(o.grey[i]), int(o.grey[i])-int(h.grey[i]))
	}
	return sum <= nearLevels*len(h.grey)
}

// CheckNearPictures finds test pictures that look like a training picture, besides exact copies, which have equal keys.
// It is a warning. Every picture is compared with every other: 10,000 with 50,000 take seconds. Only ctx's end is an
// error.
func (r *Report) CheckNearPictures(
	ctx context.Context, train, test Rows, trainHashes, testHashes []PictureHash, trainKeys, testKeys Keys,
) error {
	copies := map[string]bool{}
	for _, key := range trainKeys {
		copies[key] = key != ""
	}
	found := make([]int, len(testHashes))
	err := parallel(ctx, len(found), func() func(int) {
		return func(i int) {
			found[i] = -1
			h := &testHashes[i]
			if !h.known || copies[testKeys[i]] {
				return
			}
			for k := range trainHashes {
				if trainHashes[k].known && h.near(&trainHashes[k]) {
					found[i] = k
					return
				}
			}
		}
	})
	if err != nil {
		return err
	}
	var leaked []Case
	for i, k := range found {
		if k >= 0 {
			leaked = append(leaked, Case{
				Where: test.Where(i), Other: train.Where(k), What: disagreement(train.Labels(k), test.Labels(i)), near: true,
			})
		}
	}
	r.Add(NearDuplicates, Warning, test.Len(), some(len(leaked), test.Len(), "test picture", "test pictures")+
		" nearly a training picture, exact copies not counted", leaked)
	return nil
}
