package album

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDuplicates(t *testing.T) {
	train := t.TempDir()
	for name, content := range map[string]string{
		"cat/1.png": "first", "cat/2.png": "again", "cat/3.png": "again", "dog/1.png": "size with no other", "dog/2.png": "other",
	} {
		write(t, filepath.Join(train, name), []byte(content))
	}
	test := t.TempDir()
	for name, content := range map[string]string{"cat/a.png": "again", "dog/b.png": "first", "dog/c.png": "fresh", "dog/d.png": "other"} {
		write(t, filepath.Join(test, name), []byte(content))
	}
	a, b := open(t, train, Options{}), open(t, test, Options{})
	pairs, err := Duplicates(a, b)
	require.NoError(t, err)
	assert.Equal(t, []Pair{
		{1, 0, train + "/cat/2.png", test + "/cat/a.png", "cat", "cat"},
		{0, 1, train + "/cat/1.png", test + "/dog/b.png", "cat", "dog"},
		{4, 3, train + "/dog/2.png", test + "/dog/d.png", "dog", "dog"},
	}, pairs)

	// What has no other of its size is not read: it may be unreadable.
	require.NoError(t, os.Remove(filepath.Join(train, "dog/1.png")))
	_, err = Duplicates(a, b)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.EqualError(t, err, "looking for duplicates: stat "+train+"/dog/1.png: no such file or directory")
	_, err = Duplicates(b, a)
	require.ErrorIs(t, err, os.ErrNotExist)
}

// A file that cannot be read does no harm where no other has its size, and is an error that names it where one has.
func TestDuplicatesReadsWhereSizesAgreeOnly(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a/1.png"), []byte("12"))
	write(t, filepath.Join(dir, "a/2.png"), []byte("123"))
	a := open(t, dir, Options{})
	// A folder has a size, and cannot be read as a file.
	require.NoError(t, os.Remove(a.Name(1)))
	require.NoError(t, os.Mkdir(a.Name(1), 0o700))
	pairs, err := Duplicates(a.Part(func(i int) bool { return i == 0 }), a.Part(func(i int) bool { return i == 1 }))
	require.NoError(t, err)
	assert.Empty(t, pairs)
	_, err = Duplicates(a, a)
	require.EqualError(t, err, "looking for duplicates: read "+a.Name(1)+": is a directory")
}

func TestDuplicatesNameTheLine(t *testing.T) {
	dir := tree(t, "0.png", "1.png")
	path := filepath.Join(dir, "t.csv")
	write(t, path, []byte("image,label\n0.png,a\n1.png,b\n0.png,b\n"))
	a := open(t, path, Options{})
	pairs, err := Duplicates(a, a.Part(func(i int) bool { return i == 2 }))
	require.NoError(t, err)
	assert.Equal(t, []Pair{{0, 0, dir + "/0.png", dir + "/0.png", "a", "b"}}, pairs)
	require.NoError(t, os.Remove(a.Name(1)))
	_, err = Duplicates(a, a)
	require.EqualError(t, err, path+":3: looking for duplicates: stat "+dir+"/1.png: no such file or directory")
}

func TestDuplicatesInIdx(t *testing.T) {
	dir := t.TempDir()
	for name, b := range map[string][]byte{
		"images-idx3":        idxOf(idxPictures, []byte("aabbccaaddaa"), 6, 1, 2),
		"labels-idx1":        idxOf(idxLabels, []byte{0, 0, 1, 0, 1, 1}, 6),
		"turned-images-idx3": idxOf(idxPictures, []byte("aabbcc"), 3, 2, 1),
		"turned-labels-idx1": idxOf(idxLabels, []byte{0, 1, 1}, 3),
	} {
		write(t, filepath.Join(dir, name), b)
	}
	a := open(t, filepath.Join(dir, "images-idx3"), Options{})
	train := a.Part(func(i int) bool { return i%3 != 0 })
	test := a.Part(func(i int) bool { return i%3 == 0 })
	pairs, err := Duplicates(train, test)
	require.NoError(t, err)
	assert.Equal(t, []Pair{
		{3, 0, "images-idx3: picture 5", "images-idx3: picture 0", "1", "0"},
		{3, 1, "images-idx3: picture 5", "images-idx3: picture 3", "1", "0"},
	}, pairs)

	// The same bytes in another shape, or as a file, are another picture.
	pairs, err = Duplicates(a, open(t, filepath.Join(dir, "turned-images-idx3"), Options{}))
	require.NoError(t, err)
	assert.Empty(t, pairs)
	write(t, filepath.Join(dir, "files", "a", "1.png"), []byte("aa"))
	pairs, err = Duplicates(a, open(t, filepath.Join(dir, "files"), Options{}))
	require.NoError(t, err)
	assert.Empty(t, pairs)
}

// np.unique over the pixels of both files finds none either.
func TestFashionMNISTHasNoDuplicates(t *testing.T) {
	if _, err := os.Stat(fashion + "train-images-idx3-ubyte.gz"); err != nil {
		t.Skip("needs Fashion-MNIST: run third_party/fetch.sh --set fashion-mnist")
	}
	train := open(t, fashion+"train-images-idx3-ubyte.gz", Options{})
	pairs, err := Duplicates(train, open(t, fashion+"t10k-images-idx3-ubyte.gz", Options{}))
	require.NoError(t, err)
	assert.Empty(t, pairs)
	seen := make([]int, len(train.Classes))
	pairs, err = Duplicates(train, train.Part(func(i int) bool {
		seen[train.Class(i)]++
		return seen[train.Class(i)] <= 100
	}))
	require.NoError(t, err)
	assert.Len(t, pairs, 1000)
}
