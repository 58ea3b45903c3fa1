package album

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/thaw-ml/thaw/vision/picture"
)

// idx is the content of an idx file of 8-bit grey pictures. LeCun, Cortes and Burges, "The MNIST database of
// handwritten digits", section "File formats for the MNIST database".
type idx struct {
	rows, columns int
	pixels        []byte // picture by picture, row by row
}

const (
	idxLabels   = 0x0801 // the magic number: unsigned bytes in 1 dimension
	idxPictures = 0x0803 // and in 3: pictures, rows, columns

	// maxIdx is the most bytes of pixels or labels that are read: MNIST has 47 million.
	maxIdx = 4 << 30
	// maxDeflate is the most that deflate can shrink data: 258 bytes in 2 bits.
	maxDeflate = 1032
)

func (a *Album) openIdx(o Options) error {
	sizes, pixels, err := readIdxFile(a.Source, idxPictures)
	if err != nil {
		return err
	}
	a.idx = &idx{sizes[1], sizes[2], pixels}
	if err := tooLarge(a.idx.columns, a.idx.rows, a.maxPixels); err != nil {
		return err
	}
	path, err := labelsBeside(a.Source)
	if err != nil {
		return err
	}
	counts, labels, err := readIdxFile(path, idxLabels)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if counts[0] != sizes[0] {
		return fmt.Errorf("it holds %d pictures, but %s holds %d labels: they do not belong together", sizes[0], path, counts[0])
	}
	return a.labelIdx(path, labels, o)
}

// labelIdx gives the pictures their classes.
func (a *Album) labelIdx(path string, labels []byte, o Options) error {
	byName := o.Classes != nil && slices.ContainsFunc(o.Classes, func(c string) bool {
		n, err := strconv.ParseUint(c, 10, 8)
		return err != nil || strconv.FormatUint(n, 10) != c
	})
	var first [256]int // 1 + the first picture that has a label
	for i, l := range labels {
		if first[l] == 0 {
			first[l] = 1 + i
		}
	}
	var position [256]int32
	f := found{noun: "label"}
	for l, at := range first {
		position[l] = int32(len(f.classes))
		switch {
		case at == 0:
			position[l] = -1
		case !byName:
			f.classes = append(f.classes, strconv.Itoa(l))
		case l < len(o.Classes):
			f.classes = append(f.classes, o.Classes[l])
		default:
			return fmt.Errorf("picture %d has the label %d in %s, but there are names only for 0 to %d: name every label in order, or, for some of them, give the labels as classes, as in \"5\"", at-1, l, path, len(o.Classes)-1)
		}
	}
	f.where = func(class string) string {
		l := slices.Index(position[:], int32(slices.Index(f.classes, class)))
		return fmt.Sprintf("picture %d in %s: ", first[l]-1, path)
	}
	for i, l := range labels {
		if position[l] < 0 {
			a.LeftOut++
			continue
		}
		a.items = append(a.items, item{at: int32(i), class: position[l]})
	}
	return a.setClasses(f, o)
}

var (
	imagesWord = regexp.MustCompile(`(?i)images`)
	idx3Word   = regexp.MustCompile(`(?i)idx3`)
)

// labelsBeside finds the file of labels for a file of pictures.
func labelsBeside(path string) (string, error) {
	folder, name := filepath.Split(path)
	images, idx3 := imagesWord.FindAllStringIndex(name, -1), idx3Word.FindAllStringIndex(name, -1)
	if images == nil {
		return "", errors.New(`its labels are looked for under the same name with "labels" for "images" and "idx1" for "idx3", ` +
			`but the name has no "images": name the files like train-images-idx3-ubyte and train-labels-idx1-ubyte`)
	}
	m, x := images[len(images)-1], idx3[len(idx3)-1]
	if m[0] < x[0] {
		name = name[:m[0]] + "labels" + name[m[1]:x[0]] + "idx1" + name[x[1]:]
	} else {
		name = name[:x[0]] + "idx1" + name[x[1]:m[0]] + "labels" + name[m[1]:]
	}
	other := name + ".gz"
	if bare, zipped := strings.CutSuffix(name, ".gz"); zipped {
		other = bare
	}
	for _, n := range []string{name, other} {
		info, err := os.Stat(filepath.Join(folder, n))
		if err == nil && info.Mode().IsRegular() {
			return filepath.Join(folder, n), nil
		}
	}
	return "", fmt.Errorf("its labels are not beside it: there is no file %s, nor %s", filepath.Join(folder, name), other)
}

func readIdxFile(path string, magic uint32) (sizes []int, data []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	return readIdx(f, info.Size(), magic)
}

// readIdx reads an idx file of unsigned bytes, gzipped or not, that has length bytes. What the header promises is not
// believed with memory: more than the file can hold is refused, and memory grows with what is read.
func readIdx(r io.Reader, length int64, magic uint32) (sizes []int, data []byte, err error) {
	b := bufio.NewReaderSize(r, 1<<16)
	start, err := b.Peek(2)
	if err != nil && err != io.EOF {
		return nil, nil, err
	}
	zipped := bytes.Equal(start, []byte{0x1f, 0x8b})
	most := length
	in := io.Reader(b)
	if zipped {
		z, err := gzip.NewReader(b)
		if err != nil {
			return nil, nil, fmt.Errorf("its gzip header is damaged: %w", err)
		}
		in, most = z, length*maxDeflate
	}
	sizes, n, err := readIdxHeader(in, magic)
	if err != nil {
		return nil, nil, err
	}
	if whole := n + 4 + 4*int64(len(sizes)); whole > most || !zipped && whole != length {
		if whole < length {
			return nil, nil, fmt.Errorf("its header promises %d bytes in all, and it has %d: what are the others?", whole, length)
		}
		return nil, nil, fmt.Errorf("its header promises %d bytes, which its %d cannot hold: it is cut off or damaged", whole, length)
	}
	if data, err = readExactly(in, n); err != nil {
		return nil, nil, fmt.Errorf("it is cut off or damaged: its header promises %d bytes after it, the data ends after %d (%w)", n, len(data), err)
	}
	// Past the end, also for gzip to compare its checksum.
	switch k, err := io.ReadFull(in, make([]byte, 1)); {
	case k > 0:
		return nil, nil, fmt.Errorf("it goes on after the %d bytes that its header promises", n)
	case err != io.EOF:
		return nil, nil, fmt.Errorf("it is damaged: %w", err)
	}
	return sizes, data, nil
}

// readIdxHeader reads the magic number and the sizes of the dimensions, and returns the number of bytes that follow.
func readIdxHeader(r io.Reader, magic uint32) (sizes []int, n int64, err error) {
	head := make([]byte, 4+4*(magic&0xff))
	if _, err := io.ReadFull(r, head); err == io.EOF || err == io.ErrUnexpectedEOF {
		return nil, 0, fmt.Errorf("its header is cut off: want %d bytes", len(head))
	} else if err != nil {
		return nil, 0, fmt.Errorf("it is damaged: %w", err)
	}
	if got := binary.BigEndian.Uint32(head); got != magic {
		kinds := map[uint32]string{idxLabels: "labels", idxPictures: "grey pictures of 8 bits"}
		what := ""
		if kinds[got] != "" {
			what = " (" + kinds[got] + ")"
		}
		return nil, 0, fmt.Errorf("its magic number is 0x%08x%s, want 0x%08x (%s)", got, what, magic, kinds[magic])
	}
	n = 1
	for at := 4; at < len(head); at += 4 {
		size := int64(binary.BigEndian.Uint32(head[at:]))
		sizes = append(sizes, int(size))
		switch {
		case size == 0:
			return nil, 0, fmt.Errorf("its header says that it is empty: sizes %d", sizes)
		case size > maxIdx/n:
			return nil, 0, fmt.Errorf("its header promises more than %d GiB", maxIdx>>30)
		}
		n *= size
	}
	return sizes, n, nil
}

// readExactly reads n bytes, into memory that is never more than twice what was read, after the first MiB.
func readExactly(r io.Reader, n int64) ([]byte, error) {
	data := make([]byte, 0, min(n, 1<<20))
	for {
		k, err := io.ReadFull(r, data[len(data):cap(data)])
		data = data[:len(data)+k]
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil || int64(len(data)) == n {
			return data, err
		}
		data = append(make([]byte, 0, min(n, 2*int64(cap(data)))), data...)
	}
}

// grey is the pixels of picture i.
func (x *idx) grey(i int) []byte {
	n := x.rows * x.columns
	return x.pixels[i*n : (i+1)*n : (i+1)*n]
}

// picture is picture i in RGB.
func (x *idx) picture(i int, o picture.Options) (*picture.Image, error) {
	if err := tooLarge(x.columns, x.rows, o.MaxPixels); err != nil {
		return nil, err
	}
	if o.MinSize != nil {
		o.MinSize(x.columns, x.rows) // all of it is there
	}
	m := o.Into
	if m == nil {
		m = new(picture.Image)
	}
	m.Width, m.Height, m.FullWidth, m.FullHeight = x.columns, x.rows, x.columns, x.rows
	m.Part, m.Whole = image.Rectangle{}, image.Point{}
	grey := x.grey(i)
	m.Pix = slices.Grow(m.Pix[:0], 3*len(grey))[:3*len(grey)]
	for k, v := range grey {
		m.Pix[3*k], m.Pix[3*k+1], m.Pix[3*k+2] = v, v, v
	}
	return m, nil
}
