// Package album holds labelled pictures: a folder for each class, a table of files and labels, or an idx file (MNIST's
// format). It finds them, checks what can be checked without decoding, parts them into training and test, and decodes
// them one by one when asked.
package album

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/thaw-ml/thaw/internal/fserror"
	"github.com/thaw-ml/thaw/vision/picture"
)

// Album is a list of pictures, each with a class. It does not change once it is opened, so its methods may be called
// from several goroutines at once.
type Album struct {
	Source  string   // the path that was opened
	Classes []string // Class gives positions in it

	// Of what was opened, not of a part that Split or Limit made:

	// Others counts the files of a folder that are not in the album: those without a picture's extension, and those in
	// no class folder. Hidden ones do not count. FirstOther is the path of the first.
	Others     int
	FirstOther string
	// LeftOut counts the pictures of classes that were not asked for, see Options.Subset.
	LeftOut int

	maxPixels int
	items     []item
	table     bool // Source is a table, and an item's at is its line
	idx       *idx // where the pixels are, and an item's at is the number of its picture; nil if they are in files
}

type item struct {
	path      string // "" in an idx file
	at, class int32
}

// Options says how to open an album; the zero value takes all there is.
type Options struct {
	Columns Columns // of a table

	// Classes are the classes that are wanted, in their order. Without them they are those found: folders in the order
	// of their bytes, as in torchvision's ImageFolder ("10" before "9"), a table's labels as in corpus.Table.Classes
	// (numbers by value), an idx file's labels by value. A picture of another class is an error, and so is a class
	// without pictures.
	//
	// For an idx file they are names by number, the first for the label 0, and all labels must have one, unless all of
	// them are numbers: then those are the labels.
	Classes []string
	// Subset leaves out the pictures of other classes, and counts them.
	Subset bool
	// Absent lets a class have no pictures, as a small test set may not have all that there are in training.
	Absent bool

	// MaxPixels is what Picture and CheckHeaders allow a picture to have; 0 means picture.DefaultMaxPixels.
	MaxPixels int
}

// Columns names the columns of a table.
type Columns struct {
	Image string // of the paths; "" means "image"
	Label string // "" means "label"
}

// extensions are those of the files in a folder that are taken for pictures, in lower case: torchvision's
// IMG_EXTENSIONS, with .gif and what Pillow's Image.registered_extensions has beside them for the same formats.
var extensions = []string{
	".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp",
}

// Open opens what is at path:
//
//   - A folder that holds a folder for each class, as torchvision's ImageFolder reads it, and in its order. Pictures may
//     lie at any depth in a class folder. They are told by their extension: .bmp, .gif, .jfif, .jpe, .jpeg, .jpg, .pbm,
//     .pgm, .png, .pnm, .ppm, .tif, .tiff or .webp, in capitals too. What is hidden (its name starts with a dot) is passed over. Symbolic links are followed; a
//     folder that can be reached in two ways, as in a loop, is an error.
//   - A table: .csv, .tsv or .jsonl, also with .gz, as package corpus reads it, with a column of paths and one of labels.
//     Paths are relative to the table's folder. That all files are there is checked, none is opened.
//   - An idx file of grey pictures of 8 bits, the name of which has "idx3" in it, such as train-images-idx3-ubyte.gz. The
//     labels are looked for beside it, in train-labels-idx1-ubyte.gz; either may be gzipped or not. Both are read into
//     memory.
//
// Errors name the file or the folder, and the line or the picture.
func Open(path string, o Options) (*Album, error) {
	if err := checkWanted(o.Classes); err != nil {
		return nil, fmt.Errorf("opening pictures: %w", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("opening pictures: %w", err)
	}
	if len(o.Classes) == 0 {
		o.Classes = nil
	}
	a := &Album{Source: path, maxPixels: o.MaxPixels}
	if a.maxPixels == 0 {
		a.maxPixels = picture.DefaultMaxPixels
	}
	switch {
	case info.IsDir():
		err = a.openFolder(o)
	case !info.Mode().IsRegular():
		err = errors.New("it is a device, pipe or socket")
	case isTable(path):
		err = a.openTable(o)
	case strings.Contains(strings.ToLower(filepath.Base(path)), "idx3"):
		err = a.openIdx(o)
	default:
		err = errors.New("want a folder with a folder of pictures for each class, a table (.csv, .tsv, .jsonl, or these with .gz), " +
			`or a file of pictures in the idx format with "idx3" in its name (such as train-images-idx3-ubyte.gz)`)
	}
	if err == nil && len(a.items) == 0 {
		err = errors.New("it holds no pictures")
	}
	if err != nil {
		if !strings.HasPrefix(err.Error(), path+":") { // corpus says it, with the line
			err = fmt.Errorf("%s: %w", path, err)
		}
		return nil, fmt.Errorf("opening pictures: %w", err)
	}
	return a, nil
}

// Len returns the number of pictures.
func (a *Album) Len() int { return len(a.items) }

// Class returns the class of picture i, a position in Classes.
func (a *Album) Class(i int) int { return int(a.items[i].class) }

// ClassNumbers lists the classes of all pictures.
func (a *Album) ClassNumbers() []int {
	classes := make([]int, len(a.items))
	for i := range classes {
		classes[i] = a.Class(i)
	}
	return classes
}

// Counts returns how many pictures there are of each class.
func (a *Album) Counts() []int {
	n := make([]int, len(a.Classes))
	for _, it := range a.items {
		n[it.class]++
	}
	return n
}

// Name tells a person which picture i is: its path, or the idx file and the number in it, from 0, as in
// "train-images-idx3-ubyte.gz: picture 17".
func (a *Album) Name(i int) string {
	if a.idx != nil {
		return fmt.Sprintf("%s: picture %d", filepath.Base(a.Source), a.items[i].at)
	}
	return a.items[i].path
}

// Picture reads and decodes picture i. Its grey becomes RGB if it comes from an idx file. The album's limit of pixels
// holds where o has none. Errors name the file, and the line of the table that asks for it.
func (a *Album) Picture(i int, o picture.Options) (*picture.Image, error) {
	if o.MaxPixels == 0 {
		o.MaxPixels = a.maxPixels
	}
	if a.idx != nil {
		m, err := a.idx.picture(int(a.items[i].at), o)
		if err != nil {
			return nil, fmt.Errorf("reading picture %s: %w", a.Name(i), err)
		}
		return m, nil
	}
	m, err := picture.Read(a.items[i].path, o)
	if err != nil {
		return nil, a.onLine(i, err)
	}
	return m, nil
}

// Bytes returns picture i as it is stored: the file, or the grey pixels in an idx file, rows from the top, which are
// the album's own and must not be changed.
func (a *Album) Bytes(i int) ([]byte, error) {
	if a.idx != nil {
		return a.idx.grey(int(a.items[i].at)), nil
	}
	b, err := os.ReadFile(a.items[i].path)
	if err != nil {
		return nil, a.onLine(i, fmt.Errorf("reading picture %s: %w", a.Name(i), fserror.WithoutPath(err)))
	}
	return b, nil
}

// onLine adds the line of the table that picture i comes from, if it comes from one.
func (a *Album) onLine(i int, err error) error {
	if !a.table {
		return err
	}
	return fmt.Errorf("%s:%d: %w", a.Source, a.items[i].at, err)
}

// Part returns the album of the pictures that keep says yes to, in their order.
func (a *Album) Part(keep func(i int) bool) *Album {
	part := *a
	part.items = nil
	for i, it := range a.items {
		if keep(i) {
			part.items = append(part.items, it)
		}
	}
	part.Classes = slices.Clone(a.Classes)
	return &part
}

// tooLarge is the error for a picture of too many pixels, nil if they are not too many.
func tooLarge(width, height, maxPixels int) error {
	if width > maxPixels/height {
		return fmt.Errorf("its header promises %d x %d pixels, more than the %d that are allowed (MaxPixels)", width, height, maxPixels)
	}
	return nil
}
