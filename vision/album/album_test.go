package album

import (
	"bytes"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/vision/picture"
)

// pixels is a picture that the shade tells from others.
func pixels(width, height int, shade byte) image.Image {
	m := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			m.SetRGBA(x, y, color.RGBA{shade, byte(x), byte(y), 255})
		}
	}
	return m
}

func encoded(t testing.TB, extension string, m image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	var err error
	switch extension {
	case ".jpg":
		err = jpeg.Encode(&b, m, nil)
	case ".gif":
		err = gif.Encode(&b, m, nil)
	default:
		err = png.Encode(&b, m)
	}
	require.NoError(t, err)
	return b.Bytes()
}

// write writes a file, and the folders that it is in.
func write(t testing.TB, path string, content []byte) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
	require.NoError(t, os.WriteFile(path, content, 0o600))
}

// tree writes a folder of pictures of 3 x 2 pixels, the shade of each being its number.
func tree(t testing.TB, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i, n := range names {
		write(t, filepath.Join(dir, n), encoded(t, filepath.Ext(n), pixels(3, 2, byte(i))))
	}
	return dir
}

func open(t testing.TB, path string, o Options) *Album {
	t.Helper()
	a, err := Open(path, o)
	require.NoError(t, err)
	return a
}

// paths are the album's pictures and their classes, relative to its source.
func paths(t testing.TB, a *Album) (names []string, classes []int) {
	t.Helper()
	for i := range a.Len() {
		n, err := filepath.Rel(a.Source, a.Name(i))
		require.NoError(t, err)
		names = append(names, n)
		classes = append(classes, a.Class(i))
	}
	return names, classes
}

func TestPicture(t *testing.T) {
	dir := tree(t, "a/0.png", "b/1.jpg", "b/2.gif")
	a := open(t, dir, Options{})
	for i := range a.Len() {
		m, err := a.Picture(i, picture.Options{})
		require.NoError(t, err)
		assert.Equal(t, []int{3, 2, 18}, []int{m.Width, m.Height, len(m.Pix)})
		b, err := a.Bytes(i)
		require.NoError(t, err)
		want, err := os.ReadFile(a.Name(i))
		require.NoError(t, err)
		assert.Equal(t, want, b)
	}
	m, err := a.Picture(0, picture.Options{})
	require.NoError(t, err)
	assert.Equal(t, []byte{0, 0, 0, 0, 1, 0, 0, 2, 0, 0, 0, 1, 0, 1, 1, 0, 2, 1}, m.Pix)

	into := new(picture.Image)
	m, err = a.Picture(2, picture.Options{Into: into})
	require.NoError(t, err)
	assert.Same(t, into, m)
}

func TestPictureRefuses(t *testing.T) {
	dir := tree(t, "a/0.png", "a/1.png", "a/2.png")
	a := open(t, dir, Options{MaxPixels: 5})
	_, err := a.Picture(0, picture.Options{})
	require.EqualError(t, err, "reading picture "+dir+"/a/0.png: PNG: its header promises 3 x 2 pixels, more than the 5 that are allowed (MaxPixels)")
	_, err = a.Picture(0, picture.Options{MaxPixels: 6})
	require.NoError(t, err)
	write(t, a.Name(1), []byte("<!DOCTYPE html>"))
	_, err = a.Picture(1, picture.Options{})
	require.ErrorContains(t, err, "reading picture "+dir+"/a/1.png: it is no picture that can be read (text/html")
	require.NoError(t, os.Remove(a.Name(2)))
	_, err = a.Picture(2, picture.Options{})
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, "a/2.png")
	_, err = a.Bytes(2)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, "a/2.png")
}

func TestManyGoroutines(t *testing.T) {
	a := open(t, tree(t, "a/0.png", "a/1.png", "b/2.png", "b/3.png"), Options{})
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			into := new(picture.Image)
			for k := range 40 {
				i := (k + worker) % a.Len()
				m, err := a.Picture(i, picture.Options{Into: into})
				if err != nil || m.Pix[0] != byte(i) {
					t.Error(i, err)
				}
			}
		})
	}
	wg.Wait()
}

func TestOpenRefuses(t *testing.T) {
	dir := tree(t, "a/0.png")
	_, err := Open(filepath.Join(dir, "none"), Options{})
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, "opening pictures: stat "+dir+"/none: ")
	_, err = Open(filepath.Join(dir, "a", "0.png"), Options{})
	require.EqualError(t, err, "opening pictures: "+dir+"/a/0.png: want a folder with a folder of pictures for each class, a table (.csv, .tsv, .jsonl, or these with .gz), "+
		`or a file of pictures in the idx format with "idx3" in its name (such as train-images-idx3-ubyte.gz)`)
	_, err = Open("/dev/null", Options{})
	require.EqualError(t, err, "opening pictures: /dev/null: it is a device, pipe or socket")
	_, err = Open(dir, Options{Classes: []string{"a", "a"}})
	require.EqualError(t, err, `opening pictures: the class "a" is wanted twice`)
	_, err = Open(dir, Options{Classes: []string{"a", " "}})
	require.EqualError(t, err, `opening pictures: class 1 of those wanted has no name`)
}

func TestCounts(t *testing.T) {
	a := open(t, tree(t, "a/0.png", "b/1.png", "b/2.png"), Options{Classes: []string{"b", "c", "a"}, Absent: true})
	assert.Equal(t, []int{2, 0, 1}, a.Counts())
	assert.Equal(t, []string{"b", "c", "a"}, a.Classes)
	assert.Equal(t, []string{"a", "b"}, open(t, a.Source, Options{Classes: []string{}}).Classes)
}

// A part has its own pictures, in their order, and all classes, also those that it has no picture of.
func TestPart(t *testing.T) {
	dir := tree(t, "a/1.png", "a/2.png", "b/1.png", "b/2.png", "c/1.png")
	a := open(t, dir, Options{})
	assert.Equal(t, []int{0, 0, 1, 1, 2}, a.ClassNumbers())
	part := a.Part(func(i int) bool { return i == 1 || i == 2 })
	assert.Equal(t, []string{a.Name(1), a.Name(2)}, []string{part.Name(0), part.Name(1)})
	assert.Equal(t, []int{0, 1}, part.ClassNumbers())
	assert.Equal(t, []int{1, 1, 0}, part.Counts())
	part.Classes[0] = "other"
	assert.Equal(t, []string{"a", "b", "c"}, a.Classes, "classes are not shared")
	assert.Equal(t, 5, a.Len())
	none := a.Part(func(int) bool { return false })
	assert.Zero(t, none.Len())
	assert.Empty(t, none.ClassNumbers())
}
