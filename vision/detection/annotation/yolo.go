package annotation

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/thaw-ml/thaw/internal/fserror"
	"github.com/thaw-ml/thaw/internal/quantity"
	"github.com/thaw-ml/thaw/internal/suggest"
)

// YOLO says how to read YOLO's text files. Each picture has a .txt file of its name: in the folder where the last
// "images" of the picture's path is "labels", or beside the picture. A line is a class, counted from 0, and the box's
// middle, width and height as fractions of the picture's; of a line with a polygon, the box around it is taken. A
// picture without a file has no boxes.
type YOLO struct {
	// Split is the part that is read of what data.yaml lists: "train" if it is "", or "val" or "test".
	Split string
	// Names is the file with the classes, a name on each line. "" looks for classes.txt, obj.names and data.yaml in the
	// folder, then for labels/classes.txt.
	Names string
}

type yoloReader struct {
	*builder
	labels   []string // the file of each picture
	polygons int
	without  int // pictures without a file
	listed   bool
	paths    map[string]bool
}

func (b *builder) readYOLO(path string, folder bool) error {
	r := &yoloReader{builder: b, paths: map[string]bool{}}
	var sources []string
	var err error
	if folder {
		sources, err = r.openFolder(path)
	} else {
		sources, err = r.openYAML(path)
	}
	if err != nil {
		return err
	}
	for i := range b.classes {
		b.ids = append(b.ids, int64(i))
	}
	for _, source := range sources {
		if err := r.findPictures(source); err != nil {
			return err
		}
	}
	for i := range r.labels {
		if err := r.readLabels(int32(i)); err != nil {
			return err
		}
	}
	if !r.listed {
		r.orphans()
	}
	if r.without > 0 {
		b.note("%s no file of labels: taken as without boxes", quantity.Count(r.without, "picture has", "pictures have"))
	}
	if r.polygons > 0 {
		b.note("%s polygons: the boxes around them were taken", quantity.Count(r.polygons, "row is a", "rows are"))
	}
	b.whereBox = func(box *foundBox) string { return fmt.Sprintf("%s:%d", r.labels[box.picture], box.at) }
	return nil
}

// openFolder finds the classes of a folder, and where its pictures are.
func (r *yoloReader) openFolder(folder string) ([]string, error) {
	names := r.YOLO.Names
	if names == "" {
		tried := []string{"classes.txt", "obj.names", "data.yaml", "labels/classes.txt"}
		for _, name := range tried {
			if _, err := os.Stat(filepath.Join(folder, name)); err == nil {
				names = filepath.Join(folder, name)
				break
			}
		}
		if names == "" {
			return nil, fmt.Errorf("%s: it holds no .xml files, so it is taken for YOLO's, which need a file of classes there, "+
				"a name on each line (looked for %s)", folder, strings.Join(tried, ", "))
		}
	}
	if filepath.Base(names) == "data.yaml" {
		return r.openYAML(names)
	}
	if err := r.readNames(names); err != nil {
		return nil, err
	}
	if r.Options.Pictures != "" {
		return []string{r.Options.Pictures}, nil
	}
	if images := filepath.Join(folder, "images"); isFolder(images) {
		return []string{images}, nil
	}
	return []string{folder}, nil
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

const maxNames = 1 << 20 // bytes of a file of classes

// readNames reads a file with a class on each line.
func (r *yoloReader) readNames(path string) error {
	f, err := openText(path, maxNames, false)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	defer f.Close()
	blank := 0
	line, err := lines(f, func(line int, text []byte) error {
		if len(text) == 0 {
			blank = max(blank, 1)
			return nil
		}
		if blank > 0 {
			return fmt.Errorf("a blank line stands before it: the class %d would have no name", len(r.classes))
		}
		return r.addClass(string(text))
	})
	if err != nil {
		return fmt.Errorf("%s:%d: %w", path, line, err)
	}
	if len(r.classes) == 0 {
		return fmt.Errorf("%s: it names no classes", path)
	}
	return nil
}

func (r *yoloReader) addClass(name string) error {
	if at := slices.Index(r.classes, name); at >= 0 {
		return fmt.Errorf("the name %s is that of class %d too", suggest.Quote(name), at)
	}
	if len(r.classes) == maxClasses {
		return fmt.Errorf("there are more than %s classes", quantity.Digits(maxClasses))
	}
	r.classes = append(r.classes, name)
	return nil
}

// findPictures adds the pictures of a folder, sorted, or of a list of paths.
func (r *yoloReader) findPictures(source string) error {
	if !isFolder(source) {
		return r.readList(source)
	}
	if resolved, err := filepath.EvalSymlinks(source); err == nil && resolved != filepath.Clean(source) {
		source = resolved // WalkDir follows no links
	}
	err := filepath.WalkDir(source, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("%s: %w", path, fserror.WithoutPath(err))
		}
		if hidden := strings.HasPrefix(e.Name(), ".") && path != source; hidden && e.IsDir() {
			return fs.SkipDir
		}
		if !e.IsDir() && pictureStem(e.Name()) != "" {
			r.addPicture(path, path)
		}
		return nil
	})
	if err == nil && len(r.pictures) == 0 {
		err = fmt.Errorf("%s: it holds no pictures", source)
	}
	return err
}

func (r *yoloReader) readList(path string) error {
	r.listed = true
	f, err := openText(path, 1<<30, false)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	defer f.Close()
	line, err := lines(f, func(line int, text []byte) error {
		if len(text) > 0 {
			r.addPicture(inFolder(filepath.Dir(path), string(text)), fmt.Sprintf("%s:%d", path, line))
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%s:%d: %w", path, line, err)
	}
	return nil
}

func (r *yoloReader) addPicture(path, where string) {
	if r.paths[path] {
		r.fault(DuplicateEntry, where, "the picture %s was there before", shortPath(path))
		return
	}
	r.paths[path] = true
	r.labels = append(r.labels, labelsOf(path))
	r.pictures = append(r.pictures, foundPicture{Picture{ID: int64(len(r.pictures) + 1), Path: path}, where})
}

// labelsOf is the file of a picture's boxes.
func labelsOf(path string) string {
	folder, name := filepath.Split(path)
	name = strings.TrimSuffix(name, filepath.Ext(name)) + ".txt"
	separator := string(filepath.Separator)
	if at := strings.LastIndex(folder, separator+"images"+separator); at >= 0 {
		folder = folder[:at] + separator + "labels" + folder[at+len("/images"):]
	} else if rest, ok := strings.CutPrefix(folder, "images"+separator); ok {
		folder = "labels" + separator + rest
	}
	return folder + name
}

const maxLabels = 64 << 20 // bytes of a file of labels

func (r *yoloReader) readLabels(i int32) error {
	path := r.labels[i]
	f, err := openText(path, maxLabels, true)
	if os.IsNotExist(err) {
		r.without++
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	defer f.Close()
	line, err := lines(f, func(line int, text []byte) error {
		if len(text) == 0 {
			return nil
		}
		return r.row(i, line, text)
	})
	if err != nil {
		return fmt.Errorf("%s:%d: %w", path, line, err)
	}
	return nil
}

// row reads one line. Edges stay fractions until finish knows the picture's size.
func (r *yoloReader) row(picture int32, line int, text []byte) error {
	where := func() string { return fmt.Sprintf("%s:%d", r.labels[picture], line) }
	fields := bytes.Fields(text)
	if n := len(fields); n < 5 || n == 6 || n > 6 && n%2 == 0 {
		hint := ""
		if n == 6 {
			hint = ": is the last a score, so that this is a detection?"
		}
		r.fault(IncompleteEntry, where(), "want a class and four numbers (middle, width, height), or a class and a polygon, "+
			"found %s%s", quantity.Count(n, "field", "fields"), hint)
		return nil
	}
	class, err := strconv.ParseFloat(string(fields[0]), 64) // some tools write 0.0
	if err != nil || class != math.Trunc(class) || class < 0 {
		r.fault(UnknownClass, where(), "the class %s is no number of a class", suggest.Quote(string(fields[0])))
		return nil
	}
	if class >= float64(len(r.classes)) {
		r.fault(UnknownClass, where(), "there is no class %s: they are 0 to %d, %s", suggest.Shorten(string(fields[0])),
			len(r.classes)-1, suggest.List(r.classes))
		return nil
	}
	low, high := [2]float64{math.Inf(1), math.Inf(1)}, [2]float64{math.Inf(-1), math.Inf(-1)}
	var four [4]float64
	for i, f := range fields[1:] {
		v, err := strconv.ParseFloat(string(f), 64)
		if err != nil && v == 0 {
			r.fault(IncompleteEntry, where(), "%s is not a number", suggest.Quote(string(f)))
			return nil
		}
		if math.IsNaN(v) || math.IsInf(v, 0) {
			r.fault(NotFinite, where(), "%s is not a finite number", suggest.Quote(string(f)))
			return nil
		}
		low[i%2], high[i%2] = min(low[i%2], v), max(high[i%2], v)
		if i < 4 {
			four[i] = v
		}
	}
	box := Box{Class: int(class), X1: low[0], Y1: low[1], X2: high[0], Y2: high[1], ID: int64(len(r.boxes) + 1)}
	if len(fields) == 5 {
		x, y, w, h := four[0], four[1], four[2], four[3]
		box.X1, box.Y1, box.X2, box.Y2 = x-w/2, y-h/2, x+w/2, y+h/2
		if max(x, y, w, h) > 2 {
			r.fault(Outside, where(), "the numbers %g %g %g %g are no fractions of the picture: are they pixels?", x, y, w, h)
			return nil
		}
	} else {
		r.polygons++
	}
	return r.addBox(foundBox{Box: box, picture: picture, at: int32(min(line, 1<<31-1))})
}

// orphans finds files of labels that no picture belongs to.
func (r *yoloReader) orphans() {
	claimed := make(map[string]bool, len(r.labels))
	folders := map[string]bool{}
	for _, path := range r.labels {
		claimed[path] = true
		folders[filepath.Dir(path)] = true
	}
	var paths []string
	for folder := range folders {
		entries, _ := os.ReadDir(folder)
		for _, e := range entries {
			path := filepath.Join(folder, e.Name())
			if strings.HasSuffix(e.Name(), ".txt") && e.Type().IsRegular() && !claimed[path] && looksLikeLabels(path) {
				paths = append(paths, path)
			}
		}
	}
	slices.Sort(paths)
	for _, path := range paths {
		r.fault(MissingPicture, path, "there is no picture for these boxes")
	}
}

// looksLikeLabels tells whether a file starts with a class and numbers.
func looksLikeLabels(path string) bool {
	f, err := openText(path, maxLabels, false)
	if err != nil {
		return false
	}
	defer f.Close()
	start, err := io.ReadAll(io.LimitReader(f, 1<<10))
	if err != nil {
		return false
	}
	first, _, _ := bytes.Cut(bytes.TrimSpace(start), []byte("\n"))
	fields := bytes.Fields(first)
	for _, f := range fields {
		if _, err := strconv.ParseFloat(string(f), 64); err != nil {
			return false
		}
	}
	return len(fields) >= 5
}
