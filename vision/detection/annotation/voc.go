package annotation

import (
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/thaw-ml/thaw/internal/fserror"
	"github.com/thaw-ml/thaw/internal/quantity"
	"github.com/thaw-ml/thaw/internal/suggest"
)

// VOC says how to read Pascal VOC's files. Of each object the name, the bndbox and difficult are read; parts, poses and
// outlines are passed over. The picture is the one that filename names, or, where there is none of that name, the one
// that is called as the .xml file is.
type VOC struct {
	// Origin says what the numbers of a bndbox are. In Set.Notes stands which was taken.
	Origin Origin
	// List is a text file of names without extension, a line each, as in VOC's ImageSets/Main/train.txt: only these
	// files are read, in that order. What follows a name on its line is passed over. "" reads all files, sorted.
	List string
	// Unannotated takes pictures in the pictures' folder that no file names as pictures without boxes, as some tools
	// write no file for these. It has no effect beside List.
	Unannotated bool
}

// Origin says what the numbers of VOC's boxes are.
type Origin string

const (
	// OneBased is VOC's own, taken for "": pixels are counted from 1, and the box ends with the pixel xmax, ymax. So
	// x1 is xmin - 1 and x2 is xmax.
	OneBased Origin = "one"
	// ZeroBased is what most tools write: edges, counted from 0. So x1 is xmin and x2 is xmax.
	ZeroBased Origin = "zero"
)

const maxXML = 4 << 20

func isXML(name string) bool {
	return strings.EqualFold(filepath.Ext(name), ".xml") && !strings.HasPrefix(name, ".")
}

type vocReader struct {
	*builder
	folder, pictures string
	classOf          map[string]int
	files            []string       // of each picture
	paths            map[string]int // the position of each picture
	stems            map[string]string
	shift            float64 // what is taken off xmin and ymin
	xml              *xml.Decoder
	file             string
}

func (b *builder) readVOC(folder string) error {
	r := &vocReader{builder: b, folder: folder, classOf: map[string]int{}, paths: map[string]int{}}
	switch b.VOC.Origin {
	case "", OneBased:
		r.shift = 1
		b.note("boxes count pixels from 1 and include the last, as Pascal VOC's own: x1 = xmin - 1, x2 = xmax (origin: one)")
	case ZeroBased:
		b.note("boxes are edges that count from 0: x1 = xmin, x2 = xmax (origin: zero)")
	default:
		return fmt.Errorf("there is no origin %s of VOC's boxes: want one or zero", suggest.Quote(string(b.VOC.Origin)))
	}
	names, err := r.names()
	if err != nil {
		return err
	}
	if err := r.findPictures(); err != nil {
		return err
	}
	for _, name := range names {
		r.file = filepath.Join(folder, name)
		if err := r.readFile(); err != nil {
			return err
		}
	}
	r.sortClasses()
	if err := r.unannotated(); err != nil {
		return err
	}
	b.whereBox = func(box *foundBox) string { return fmt.Sprintf("%s:%d", r.files[box.picture], box.at) }
	return nil
}

// names are the files to read.
func (r *vocReader) names() ([]string, error) {
	if r.VOC.List != "" {
		return r.listed()
	}
	entries, err := os.ReadDir(r.folder)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.folder, fserror.WithoutPath(err))
	}
	var names []string
	for _, e := range entries { // sorted
		if isXML(e.Name()) {
			names = append(names, e.Name())
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%s: it holds no .xml files", r.folder)
	}
	return names, nil
}

func (r *vocReader) listed() ([]string, error) {
	f, err := openText(r.VOC.List, 64<<20, false)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.VOC.List, err)
	}
	defer f.Close()
	var names []string
	seen := map[string]int{}
	line, err := lines(f, func(line int, text []byte) error {
		fields := strings.Fields(string(text))
		if len(fields) == 0 {
			return nil
		}
		name := strings.TrimSuffix(fields[0], ".xml") + ".xml"
		if before, again := seen[name]; again {
			r.fault(DuplicateEntry, fmt.Sprintf("%s:%d", r.VOC.List, line), "%s stands on line %d too",
				suggest.Quote(fields[0]), before)
			return nil
		}
		seen[name] = line
		if _, err := os.Stat(filepath.Join(r.folder, name)); err != nil {
			return fmt.Errorf("%s: %w", suggest.Quote(name), fserror.WithoutPath(err))
		}
		names = append(names, name)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%s:%d: %w", r.VOC.List, line, err)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%s: it names no files", r.VOC.List)
	}
	return names, nil
}

// findPictures finds the pictures' folder, and what lies in it by name without extension.
func (r *vocReader) findPictures() error {
	folders := []string{r.Options.Pictures}
	if r.Options.Pictures == "" {
		folders = []string{filepath.Join(r.folder, "../JPEGImages"), filepath.Join(r.folder, "../images"), r.folder}
	}
	for i, folder := range folders {
		entries, err := os.ReadDir(folder)
		if err != nil && i == len(folders)-1 {
			return fmt.Errorf("%s: %w", folder, fserror.WithoutPath(err))
		}
		if err != nil {
			continue
		}
		r.pictures, r.stems = folder, map[string]string{}
		for _, e := range entries {
			if stem := pictureStem(e.Name()); stem != "" {
				r.stems[stem] = e.Name()
			}
		}
		return nil
	}
	return nil
}

// pictureStem is a picture's name without its extension; "" for what is none.
func pictureStem(name string) string {
	ext := filepath.Ext(name)
	if strings.HasPrefix(name, ".") || !slices.Contains(pictureExtensions, strings.ToLower(ext)) {
		return ""
	}
	return strings.TrimSuffix(name, ext)
}

// pictureExtensions are those of files that package picture reads.
var pictureExtensions = []string{
	".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp",
}

// unannotated adds the pictures that no file is about, or tells of them.
func (r *vocReader) unannotated() error {
	if r.VOC.List != "" {
		return nil
	}
	var names []string
	for _, name := range r.stems {
		if _, known := r.paths[filepath.Join(r.pictures, name)]; !known {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	if !r.VOC.Unannotated {
		r.note("there is no .xml file for %s in %s, such as %s: left out", quantity.Count(len(names), "picture", "pictures"),
			r.pictures, suggest.Quote(names[0]))
		return nil
	}
	for _, name := range names {
		path := filepath.Join(r.pictures, name)
		r.files = append(r.files, path)
		r.builder.pictures = append(r.builder.pictures, foundPicture{
			Picture{ID: int64(len(r.builder.pictures) + 1), Path: path}, path})
	}
	r.note("there is no .xml file for %s in %s, such as %s: taken as without boxes",
		quantity.Count(len(names), "picture", "pictures"), r.pictures, suggest.Quote(names[0]))
	return nil
}
