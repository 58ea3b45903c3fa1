package album

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func messages(errs []error) []string {
	var m []string
	for _, err := range errs {
		m = append(m, err.Error())
	}
	return m
}

// headerBytes are what picture.ReadHeader reads of a file first.
const headerBytes = 64 << 10

// late is a JPEG with its header behind more than headerBytes of comments.
func late(t *testing.T) []byte {
	b := encoded(t, ".jpg", pixels(40, 30, 1))
	var out bytes.Buffer
	out.Write(b[:2])
	for range 3 {
		out.Write([]byte{0xff, 0xfe, 0xff, 0xff})
		out.Write(make([]byte, 0xffff-2))
	}
	out.Write(b[2:])
	require.Greater(t, out.Len(), 2*headerBytes)
	return out.Bytes()
}

// endTIFF is a TIFF of 40 x 30 grey pixels with its directory behind n more bytes.
func endTIFF(n int) []byte {
	le := binary.LittleEndian
	b := append([]byte("II*\x00"), le.AppendUint32(nil, uint32(8+1200+n))...)
	b = append(b, make([]byte, 1200+n)...)
	entries := [][2]uint32{{256, 40}, {257, 30}, {258, 8}, {259, 1}, {262, 1}, {273, 8}, {277, 1}, {278, 30}, {279, 1200}}
	b = le.AppendUint16(b, uint16(len(entries)))
	for _, e := range entries {
		b = le.AppendUint32(le.AppendUint32(le.AppendUint16(le.AppendUint16(b, uint16(e[0])), 4), 1), e[1])
	}
	return le.AppendUint32(b, 0)
}

func TestCheckHeaders(t *testing.T) {
	dir := tree(t, "a/00.png", "a/01.jpg", "a/02.gif")
	good := encoded(t, ".png", pixels(40, 30, 1))
	for name, b := range map[string][]byte{
		"a/03.jpg":  late(t),
		"a/04.tiff": endTIFF(headerBytes),
		"a/05.png":  append(bytes.Clone(good), make([]byte, 4*headerBytes)...),
		"b/06.png":  nil,
		"b/07.png":  []byte("not a picture, whatever its name is"),
		"b/08.png":  good[:20],
		"b/09.png":  good,
		"b/10.png":  encoded(t, ".png", pixels(41, 30, 1)),
		"b/11.jpg":  late(t)[:2*headerBytes],
		"b/12.png":  good,
	} {
		write(t, filepath.Join(dir, name), b)
	}
	a := open(t, dir, Options{MaxPixels: 1200})
	require.NoError(t, os.Remove(filepath.Join(dir, "b/12.png")))
	want := []string{
		"06.png: it is empty: want JPEG, PNG, GIF, BMP, WebP, TIFF or PPM",
		"07.png: it is no picture that can be read (text/plain; charset=utf-8): want JPEG, PNG, GIF, BMP, WebP, TIFF or PPM",
		"08.png: PNG: its header is cut off",
		"10.png: its header promises 41 x 30 pixels, more than the 1200 that are allowed (MaxPixels)",
		"11.jpg: JPEG: its segment fe says that it has 65535 bytes, 65531 are left",
		"12.png: no such file or directory",
	}
	for i, w := range want {
		want[i] = "reading picture " + dir + "/b/" + w
	}
	for _, workers := range []int{-1, 0, 1, 3, 100} {
		assert.Equal(t, want, messages(a.CheckHeaders(t.Context(), workers)), workers)
	}
	assert.Empty(t, a.Part(func(i int) bool { return i < 6 }).CheckHeaders(t.Context(), 0))
}

func TestCheckHeadersNamesTheLine(t *testing.T) {
	dir := tree(t, "0.png")
	path := filepath.Join(dir, "t.csv")
	write(t, path, []byte("image,label\n0.png,a\nt.csv,b\n"))
	assert.Equal(t, []string{path + ":3: reading picture " + path + ": it is no picture that can be read (text/plain; charset=utf-8): want JPEG, PNG, GIF, BMP, WebP, TIFF or PPM"},
		messages(open(t, path, Options{}).CheckHeaders(t.Context(), 2)))
}

// A file too large for any picture of so many pixels is not read: it may be a disk image.
func TestCheckHeadersOfAHugeFile(t *testing.T) {
	dir := tree(t, "a/0.png")
	path := filepath.Join(dir, "a", "1.png")
	write(t, path, nil)
	require.NoError(t, os.Truncate(path, 1<<40)) // sparse
	assert.Equal(t, []string{"reading picture " + path + ": its 1099511627776 bytes are more than any picture of 178956970 pixels takes"},
		messages(open(t, dir, Options{}).CheckHeaders(t.Context(), 2)))
}

func TestCheckHeadersCancelled(t *testing.T) {
	a := open(t, tree(t, "a/0.png", "a/1.png"), Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	assert.Equal(t, []error{context.Canceled}, a.CheckHeaders(ctx, 1))
}

func TestEach(t *testing.T) {
	for _, workers := range []int{0, 1, 2, 9} {
		var calls [50]atomic.Int64
		bad := each(t.Context(), workers, len(calls), func(i int) error {
			calls[i].Add(1)
			if i%20 == 7 {
				return fmt.Errorf("number %d", i)
			}
			return nil
		})
		assert.Equal(t, []string{"number 7", "number 27", "number 47"}, messages(bad))
		for i := range calls {
			assert.Equal(t, int64(1), calls[i].Load())
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	var calls atomic.Int64
	bad := each(ctx, 3, 1000, func(i int) error {
		calls.Add(1)
		if i == 10 {
			cancel()
		}
		return nil
	})
	assert.Equal(t, []error{context.Canceled}, bad)
	assert.Less(t, calls.Load(), int64(1000))
	// Cancelled in the last one is not too late for any.
	ctx, cancel = context.WithCancel(t.Context())
	assert.Empty(t, each(ctx, 1, 3, func(i int) error {
		if i == 2 {
			cancel()
		}
		return nil
	}))
}
