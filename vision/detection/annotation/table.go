package annotation

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/thaw-ml/thaw/internal/quantity"
	"github.com/thaw-ml/thaw/internal/suggest"
)

// Columns names the columns of a table, which has a header line and a row for each box: the picture's path, the box's
// edges in pixels and its class. A row whose other fields are empty is a picture without boxes. Rows of one picture
// need not follow each other.
type Columns struct {
	Path           string // "" means "path"
	X1, Y1, X2, Y2 string // "" means "x1", "y1", "x2", "y2"
	Class          string // "" means "class"
}

func (c Columns) named() []string {
	names := []string{c.Path, c.X1, c.Y1, c.X2, c.Y2, c.Class}
	for i, name := range []string{"path", "x1", "y1", "x2", "y2", "class"} {
		if names[i] == "" {
			names[i] = name
		}
	}
	return names
}

type tableReader struct {
	*builder
	path      string
	names     []string // of the columns
	at        []int    // where they are
	width     int
	classOf   map[string]int
	pictureOf map[string]int32
}

func (b *builder) readTable(path string) error {
	f, err := openText(path, 0, false)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	defer f.Close()
	r := &tableReader{builder: b, path: path, names: b.Columns.named(), classOf: map[string]int{},
		pictureOf: map[string]int32{}}
	if line, err := r.read(f); err != nil {
		return fmt.Errorf("%s:%d: %w", path, line, err)
	}
	r.sortClasses()
	b.whereBox = func(box *foundBox) string { return fmt.Sprintf("%s:%d", path, box.at) }
	return nil
}

// read reads all rows. The line of an error is returned beside it.
func (r *tableReader) read(f io.Reader) (int, error) {
	budget := &budgetReader{f, maxLine}
	c := csv.NewReader(budget)
	c.FieldsPerRecord = -1 // counted below
	c.ReuseRecord = true
	tabs := strings.EqualFold(filepath.Ext(r.path), ".tsv")
	if tabs {
		c.Comma, c.LazyQuotes = '\t', true
	}
	for line := 1; ; {
		budget.left = maxLine
		fields, err := c.Read()
		if err == io.EOF {
			if r.width == 0 {
				return 1, errors.New("it has no header line")
			}
			return 0, nil
		}
		if e, ok := errors.AsType[*csv.ParseError](err); ok {
			if errors.Is(e.Err, csv.ErrQuote) {
				return e.StartLine, errors.New("a quoted field in the row that starts here is not closed, " +
					"or goes on after its closing quote")
			}
			return e.Line, e.Err
		}
		if errors.Is(err, errTooLong) {
			return line + 1, errLongLine
		}
		if err != nil {
			return line, err
		}
		line, _ = c.FieldPos(0)
		if r.width == 0 {
			err = r.header(fields, tabs)
		} else {
			err = r.row(fields, line)
		}
		if err != nil {
			return line, err
		}
	}
}

func (r *tableReader) header(names []string, tabs bool) error {
	names = slices.Clone(names)
	for i := range names {
		names[i] = strings.TrimSpace(names[i])
	}
	r.width = len(names)
	for i, name := range r.names {
		if slices.Contains(r.names[:i], name) {
			return fmt.Errorf("the column %s is named twice", suggest.Quote(name))
		}
		at := slices.Index(names, name)
		if at < 0 {
			hint := suggest.DidYouMean(name, names)
			if len(names) == 1 {
				hint = "; are the fields separated by something else than commas? Name the file .tsv if it is tabs"
				if tabs {
					hint = "; are the fields separated by something else than tabs? Name the file .csv if it is commas"
				}
			}
			return fmt.Errorf("there is no column %s; the columns are %s%s", suggest.Quote(name), suggest.List(names), hint)
		}
		if slices.Contains(names[at+1:], name) {
			return fmt.Errorf("the header has two columns %s", suggest.Quote(name))
		}
		r.at = append(r.at, at)
	}
	return nil
}

func (r *tableReader) row(fields []string, line int) error {
	where := func() string { return fmt.Sprintf("%s:%d", r.path, line) }
	if len(fields) != r.width {
		r.fault(IncompleteEntry, where(), "expected %s, got %d", quantity.Count(r.width, "column", "columns"), len(fields))
		return nil
	}
	var values [6]string
	empty := 0
	for i, at := range r.at {
		if values[i] = strings.TrimSpace(fields[at]); values[i] == "" && i > 0 {
			empty++
		}
	}
	if values[0] == "" {
		r.fault(IncompleteEntry, where(), "the path (column %q) is empty", r.names[0])
		return nil
	}
	box := foundBox{picture: r.picture(values[0], where), at: int32(min(line, 1<<31-1))}
	if empty == 5 {
		return nil
	}
	for i, to := range []*float64{&box.X1, &box.Y1, &box.X2, &box.Y2} {
		v, err := strconv.ParseFloat(values[i+1], 64)
		if err != nil && !errors.Is(err, strconv.ErrRange) {
			r.fault(IncompleteEntry, where(), "%s is %s, not a number", r.names[i+1], suggest.Quote(values[i+1]))
			return nil
		}
		if math.IsNaN(v) || math.IsInf(v, 0) {
			r.fault(NotFinite, where(), "%s is %s, not a finite number", r.names[i+1], suggest.Quote(values[i+1]))
			return nil
		}
		*to = v
	}
	if values[5] == "" {
		r.fault(UnknownClass, where(), "the class (column %q) is empty", r.names[5])
		return nil
	}
	box.Area = (box.X2 - box.X1) * (box.Y2 - box.Y1)
	box.ID = int64(len(r.boxes) + 1)
	var err error
	if box.Class, err = r.className(r.classOf, values[5]); err != nil {
		return err
	}
	return r.addBox(box)
}

// picture is the position of a picture, which is added if it is new.
func (r *tableReader) picture(path string, where func() string) int32 {
	if at, known := r.pictureOf[path]; known {
		return at
	}
	folder := r.Options.Pictures
	if folder == "" {
		folder = filepath.Dir(r.path)
	}
	path = strings.Clone(path)
	at := int32(len(r.pictures))
	r.pictureOf[path] = at
	r.pictures = append(r.pictures, foundPicture{Picture{ID: int64(at) + 1, Path: inFolder(folder, path)}, where()})
	return at
}
