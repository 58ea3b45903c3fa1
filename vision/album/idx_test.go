package album

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/vision/picture"
)

// idxOf is an idx file.
func idxOf(magic uint32, data []byte, sizes ...uint32) []byte {
	b := binary.BigEndian.AppendUint32(nil, magic)
	for _, s := range sizes {
		b = binary.BigEndian.AppendUint32(b, s)
	}
	return append(b, data...)
}

// idxPair writes pictures of 2 x 3 pixels with these labels, the pixels counting up, and returns the pictures' path.
func idxPair(t testing.TB, images, labels string, values ...byte) string {
	t.Helper()
	dir := t.TempDir()
	n := len(values)
	data := make([]byte, 6*n)
	for i := range data {
		data[i] = byte(i)
	}
	for name, b := range map[string][]byte{
		images: idxOf(idxPictures, data, uint32(n), 3, 2),
		labels: idxOf(idxLabels, values, uint32(n)),
	} {
		if filepath.Ext(name) == ".gz" {
			b = zipped(t, b)
		}
		write(t, filepath.Join(dir, name), b)
	}
	return filepath.Join(dir, images)
}

func TestIdx(t *testing.T) {
	for _, names := range [][2]string{
		{"train-images-idx3-ubyte", "train-labels-idx1-ubyte"},
		{"train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"},
		{"train-images-idx3-ubyte", "train-labels-idx1-ubyte.gz"},
		{"train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte"},
		{"t10k-images.idx3-ubyte", "t10k-labels.idx1-ubyte"},
		{"images-of-images-idx3", "images-of-labels-idx1"},
		{"idx3-of-Images.GZ", "idx1-of-labels.GZ"},
	} {
		t.Run(names[0], func(t *testing.T) {
			path := idxPair(t, names[0], names[1], 7, 3, 7, 10)
			a := open(t, path, Options{})
			assert.Equal(t, []string{"3", "7", "10"}, a.Classes)
			assert.Equal(t, []int{1, 2, 1}, a.Counts())
			assert.Equal(t, []int{1, 0, 1, 2}, []int{a.Class(0), a.Class(1), a.Class(2), a.Class(3)})
			assert.Equal(t, names[0]+": picture 1", a.Name(1))
			into := &picture.Image{Pix: make([]byte, 100)}
			m, err := a.Picture(1, picture.Options{Into: into})
			require.NoError(t, err)
			assert.Same(t, into, m)
			assert.Equal(t, picture.Image{Width: 2, Height: 3, FullWidth: 2, FullHeight: 3,
				Pix: []byte{6, 6, 6, 7, 7, 7, 8, 8, 8, 9, 9, 9, 10, 10, 10, 11, 11, 11}}, *m)
			b, err := a.Bytes(3)
			require.NoError(t, err)
			assert.Equal(t, []byte{18, 19, 20, 21, 22, 23}, b)
			assert.Empty(t, a.CheckHeaders(t.Context(), 0))
		})
	}
}

func TestIdxClasses(t *testing.T) {
	path := idxPair(t, "images-idx3", "labels-idx1", 2, 0, 1, 2)
	for _, c := range []struct {
		o       Options
		classes []int
		leftOut int
		err     string
	}{
		{o: Options{Classes: []string{"shirt", "shoe", "bag"}}, classes: []int{2, 0, 1, 2}},
		{o: Options{Classes: []string{"shirt", "shoe", "bag", "hat"}, Absent: true}, classes: []int{2, 0, 1, 2}},
		{o: Options{Classes: []string{"2", "0"}, Subset: true}, classes: []int{0, 1, 0}, leftOut: 1},
		{o: Options{Classes: []string{"2", "1", "0"}}, classes: []int{0, 2, 1, 0}},
		{o: Options{Classes: []string{"007", "008", "009"}}, classes: []int{2, 0, 1, 2}}, // names, not labels
		{o: Options{Classes: []string{"shirt", "shoe"}}, err: "picture 0 has the label 2 in LABELS, but there are names only for 0 to 1: name every label in order, or, for some of them, give the labels as classes, as in \"5\""},
		{o: Options{Classes: []string{"5", "x"}, Subset: true}, err: "picture 0 has the label 2 in LABELS, but there are names only for 0 to 1: name every label in order, or, for some of them, give the labels as classes, as in \"5\""},
		{o: Options{Classes: []string{"shirt", "shoe", "bag", "hat"}},
			err: `there is no picture of the class "hat"; the labels are "shirt", "shoe", "bag"`},
		{o: Options{Classes: []string{"2", "0"}},
			err: `picture 2 in LABELS: the label "1" is not a class; the classes are "2", "0"; did you mean "2"?`},
		{o: Options{MaxPixels: 5}, err: "its header promises 2 x 3 pixels, more than the 5 that are allowed (MaxPixels)"},
	} {
		a, err := Open(path, c.o)
		if c.err != "" {
			labels := filepath.Join(filepath.Dir(path), "labels-idx1")
			require.EqualError(t, err, "opening pictures: "+path+": "+string(bytes.ReplaceAll([]byte(c.err), []byte("LABELS"), []byte(labels))))
			continue
		}
		require.NoError(t, err)
		var classes []int
		for i := range a.Len() {
			classes = append(classes, a.Class(i))
		}
		assert.Equal(t, c.classes, classes, c.o)
		assert.Equal(t, c.leftOut, a.LeftOut)
	}
	a := open(t, path, Options{})
	_, err := a.Picture(3, picture.Options{MaxPixels: 5})
	require.EqualError(t, err, "reading picture images-idx3: picture 3: its header promises 2 x 3 pixels, more than the 5 that are allowed (MaxPixels)")
}

func TestIdxWithoutItsLabels(t *testing.T) {
	path := idxPair(t, "images-idx3.gz", "labels-idx1", 1, 0)
	dir := filepath.Dir(path)
	require.NoError(t, os.Remove(filepath.Join(dir, "labels-idx1")))
	_, err := Open(path, Options{})
	require.EqualError(t, err, "opening pictures: "+path+": its labels are not beside it: there is no file "+dir+"/labels-idx1.gz, nor labels-idx1")

	write(t, filepath.Join(dir, "labels-idx1"), idxOf(idxLabels, []byte{1, 2, 3}, 3))
	_, err = Open(path, Options{})
	require.EqualError(t, err, "opening pictures: "+path+": it holds 2 pictures, but "+dir+"/labels-idx1 holds 3 labels: they do not belong together")

	write(t, filepath.Join(dir, "labels-idx1"), idxOf(idxPictures, []byte{1}, 1, 1, 1))
	_, err = Open(path, Options{})
	require.EqualError(t, err, "opening pictures: "+path+": "+dir+"/labels-idx1: its magic number is 0x00000803 (grey pictures of 8 bits), want 0x00000801 (labels)")

	require.NoError(t, os.Rename(path, filepath.Join(dir, "idx3.gz")))
	_, err = Open(filepath.Join(dir, "idx3.gz"), Options{})
	require.ErrorContains(t, err, `the name has no "images": name the files like train-images-idx3-ubyte and train-labels-idx1-ubyte`)
}

// zeros is a gzip file of a header and so many zeros, made without holding them.
func zeros(t *testing.T, header []byte, n int64) []byte {
	t.Helper()
	var z bytes.Buffer
	w, err := gzip.NewWriterLevel(&z, gzip.BestCompression)
	require.NoError(t, err)
	_, err = w.Write(header)
	require.NoError(t, err)
	block := make([]byte, 1<<20)
	for ; n > 0; n -= int64(len(block)) {
		_, err = w.Write(block[:min(n, int64(len(block)))])
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return z.Bytes()
}

func TestHostileIdx(t *testing.T) {
	good := idxOf(idxPictures, []byte("abcdef"), 1, 2, 3)
	packed := zipped(t, good)
	for _, c := range []struct {
		name, want string
		data       []byte
	}{
		{"empty", "its header is cut off: want 16 bytes", nil},
		{"header cut off", "its header is cut off: want 16 bytes", good[:15]},
		{"labels", "its magic number is 0x00000801 (labels), want 0x00000803 (grey pictures of 8 bits)", idxOf(idxLabels, make([]byte, 20), 20)},
		{"floats", "its magic number is 0x00000d03, want 0x00000803 (grey pictures of 8 bits)", idxOf(0x0d03, make([]byte, 24), 1, 2, 3)},
		{"little-endian", "its magic number is 0x03080000, want 0x00000803 (grey pictures of 8 bits)", idxOf(0x03080000, make([]byte, 24), 1, 2, 3)},
		{"text", "its magic number is 0x3c68746d, want 0x00000803 (grey pictures of 8 bits)", []byte("<html><body>not found</body></html>")},
		{"no pictures", "its header says that it is empty: sizes [0]", idxOf(idxPictures, nil, 0, 2, 3)},
		{"no pixels", "its header says that it is empty: sizes [5 0]", idxOf(idxPictures, nil, 5, 0, 3)},
		{"too many", "its header promises more than 4 GiB", idxOf(idxPictures, nil, 1<<16, 1<<8, 1<<8+1)},
		{"far too many", "its header promises more than 4 GiB", idxOf(idxPictures, nil, 1<<32-1, 1<<32-1, 1<<32-1)},
		{"promises more", "its header promises 22 bytes, which its 21 cannot hold: it is cut off or damaged", good[:21]},
		{"promises 4 GiB", "its header promises 4294967312 bytes, which its 22 cannot hold: it is cut off or damaged", idxOf(idxPictures, []byte("abcdef"), 1<<16, 1<<8, 1<<8)},
		{"goes on", "its header promises 22 bytes in all, and it has 23: what are the others?", append(bytes.Clone(good), 0)},

		{"gzip header cut off", "its gzip header is damaged: unexpected EOF", packed[:9]},
		{"gzip header", "its gzip header is damaged: gzip: invalid header", []byte("\x1f\x8b not a gzip file")},
		{"gzip cut off in the header", "its header is cut off: want 16 bytes", zipped(t, good[:12])},
		{"gzip cut off", "it is cut off or damaged: its header promises 6 bytes after it, the data ends after 5 (unexpected EOF)", zipped(t, good[:21])},
		{"gzip without its end", "it is damaged: unexpected EOF", packed[:len(packed)-4]},
		{"gzip with another checksum", "it is damaged: gzip: invalid checksum", append(bytes.Clone(packed[:len(packed)-8]), 1, 2, 3, 4, 22, 0, 0, 0)},
		{"gzip goes on", "it goes on after the 6 bytes that its header promises", zipped(t, append(bytes.Clone(good), 0))},
		{"gzip and more behind", "it is damaged: gzip: invalid header", append(bytes.Clone(packed), "and more, which is no gzip"...)},
		{"gzip and another", "it goes on after the 6 bytes that its header promises", append(bytes.Clone(packed), packed...)},
		{"gzip promises 4 GiB", fmt.Sprintf("its header promises 4294967312 bytes, which its %d cannot hold: it is cut off or damaged", len(zipped(t, idxOf(idxPictures, []byte("abcdef"), 1<<16, 1<<8, 1<<8)))),
			zipped(t, idxOf(idxPictures, []byte("abcdef"), 1<<16, 1<<8, 1<<8))},
		{"gzip bomb", "it goes on after the 6 bytes that its header promises", zeros(t, good, 256<<20)},
		// 3 MB that could hold 3 GB, as far as one can tell from outside, and hold noise.
		{"gzip of noise promises 2 GiB", "it is cut off or damaged: its header promises 2147483648 bytes after it, the data ends after 3000000 (unexpected EOF)",
			zipped(t, append(idxOf(idxPictures, nil, 1<<15, 1<<8, 1<<8), noise(3_000_000)...))},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "images-idx3")
			write(t, path, c.data)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := Open(path, Options{})
			runtime.ReadMemStats(&after)
			require.EqualError(t, err, "opening pictures: "+path+": "+c.want)
			assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(16<<20))
		})
	}
}

func noise(n int) []byte {
	b := make([]byte, n)
	x := uint32(1)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

func TestReadExactly(t *testing.T) {
	for _, n := range []int{1, 1<<20 - 1, 1 << 20, 1<<20 + 1, 5 << 20} {
		want := noise(n)
		got, err := readExactly(bytes.NewReader(append(bytes.Clone(want), 1)), int64(n))
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, got))
		require.Equal(t, n, cap(got))
		_, err = readExactly(bytes.NewReader(want[1:]), int64(n))
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	}
}

// Whatever the bytes are, there are as many as the header says, all of the file, or an error.
func FuzzIdx(f *testing.F) {
	good := idxOf(idxPictures, []byte("abcdef"), 1, 2, 3)
	f.Add(good, uint32(idxPictures))
	f.Add(zipped(f, good), uint32(idxPictures))
	f.Add(idxOf(idxLabels, []byte("abc"), 3), uint32(idxLabels))
	f.Add(idxOf(idxPictures, nil, 1<<31, 1<<31, 1<<31), uint32(idxPictures))
	f.Add(zipped(f, idxOf(idxLabels, make([]byte, 5000), 4000)), uint32(idxLabels))
	f.Fuzz(func(t *testing.T, b []byte, magic uint32) {
		if magic != idxLabels {
			magic = idxPictures
		}
		sizes, data, err := readIdx(bytes.NewReader(b), int64(len(b)), magic)
		if err != nil {
			return
		}
		n := uint64(1)
		var head []uint32
		for _, s := range sizes {
			n *= uint64(s)
			head = append(head, uint32(s))
		}
		if len(sizes) != int(magic&0xff) || uint64(len(data)) != n || n == 0 {
			t.Fatal(sizes, len(data))
		}
		file := b
		if b[0] == 0x1f {
			z, err := gzip.NewReader(bytes.NewReader(b))
			if err != nil {
				t.Fatal(err)
			}
			if file, err = io.ReadAll(z); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(file, idxOf(magic, data, head...)) {
			t.Fatal("something of the file is lost")
		}
	})
}

const fashion = "../../examples/fashion/data/"

// The real data: the sums and labels are those that gzip and NumPy read (np.frombuffer behind the header).
func TestFashionMNIST(t *testing.T) {
	for name, want := range map[string]struct {
		n, class17 int
		sum        string
	}{
		"train-images-idx3-ubyte.gz": {60000, 0, "2e487a6c89124f78f2d7521542223cafe96f7123c3ca13d447772ac6ecbb3012"},
		"t10k-images-idx3-ubyte.gz":  {10000, 4, "c867c93ff95360594e8ec3287995350b824dd110b11595c0e13d5423f621867a"},
	} {
		if _, err := os.Stat(fashion + name); err != nil {
			t.Skip("needs Fashion-MNIST: run third_party/fetch.sh --set fashion-mnist")
		}
		a := open(t, fashion+name, Options{})
		assert.Equal(t, []string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"}, a.Classes)
		require.Equal(t, want.n, a.Len())
		for _, n := range a.Counts() {
			assert.Equal(t, want.n/10, n)
		}
		assert.Equal(t, want.class17, a.Class(17))
		m, err := a.Picture(17, picture.Options{})
		require.NoError(t, err)
		assert.Equal(t, []int{28, 28}, []int{m.Width, m.Height})
		assert.Equal(t, want.sum, fmt.Sprintf("%x", sha256.Sum256(a.idx.pixels)))
	}
}
