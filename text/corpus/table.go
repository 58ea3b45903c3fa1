// Package corpus reads tables of texts with labels: CSV, TSV and JSON lines, each also gzipped.
//
// All three are UTF-8, with or without a byte order mark. Bytes that are not UTF-8 become U+FFFD, by
// the rule of Python's errors="replace", and the rows that had any are counted. Lines end in LF or
// CRLF. Blank lines are skipped.
package corpus

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/thaw-ml/thaw/internal/fserror"
	"github.com/thaw-ml/thaw/internal/labels"
	"github.com/thaw-ml/thaw/internal/suggest"
	"github.com/thaw-ml/thaw/internal/utf8text"
)

// Columns names the columns to read: of the header line in CSV and TSV, of the keys in JSON lines.
type Columns struct {
	Text  string
	Pair  string // the second text of a pair; empty for single texts
	Label string // empty for texts without labels
	// Several lets a row have any number of labels: none, or in JSON lines a list.
	Several bool
}

// Row is one example.
type Row struct {
	Text, Pair, Label string
	Labels            []string // of a list in JSON lines; nil where Label holds what there is
	Line              int      // where the row starts in its file, from 1

	replaced bool // it had bytes that are not UTF-8
}

// Replaced tells whether the row had bytes that are not UTF-8, in any column.
func (r Row) Replaced() bool { return r.replaced }

// Table is the rows of one file, or a part of them.
type Table struct {
	Path    string
	Columns Columns
	Rows    []Row

	// Rows that had bytes which are not UTF-8, in any column, and the line of the first.
	InvalidUTF8, FirstInvalid int
	// Rows with no text, or a text of spaces, and the line of the first. They are kept: a model can
	// be asked about an empty text, and dropping a row would shift the others against a file of
	// predictions.
	Empty, FirstEmpty int
}

// Error is a fault in a file.
type Error struct {
	File string
	Line int // 0 when the fault is in no single line
	Msg  string
	// Column is the one that was asked for and is not there; "" where that is not the fault.
	Column string
}

func (e *Error) Error() string {
	if e.Line == 0 {
		return e.File + ": " + e.Msg
	}
	return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Msg)
}

// Open reads the file at path; its extension tells the format:
//
//   - .csv as in RFC 4180: fields may be quoted, and then hold commas, line ends (read as LF) and
//     doubled quotes. The first line is the header.
//   - .tsv split at every tab and line end, a quote being a character like others, as the files of
//     GLUE are read; but a field in quotes with doubled quotes inside is read as .csv has it, as
//     pandas and Excel write it. The first line is the header.
//   - .jsonl with one object a line. A text must be a string; null is an empty one. A label may be
//     a string, a number, taken as it is spelled, or a bool.
//
// and .gz after any of them. A row without a label is an error where labels are asked for. Errors
// name the file, and the line where there is one; those about content are *Error.
func Open(path string, columns Columns) (*Table, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return Read(path, f, columns)
}

// Read is Open for what is not a file. The name's extension tells the format.
func Read(name string, r io.Reader, columns Columns) (*Table, error) {
	t := &Table{Path: name, Columns: columns}
	if err := t.read(r); err != nil {
		if _, ours := errors.AsType[*Error](err); ours {
			return nil, err
		}
		return nil, fmt.Errorf("read %s: %w", name, fserror.WithoutPath(err))
	}
	return t, nil
}

func (t *Table) read(r io.Reader) error {
	name, zipped := strings.CutSuffix(strings.ToLower(t.Path), ".gz")
	var parse func(*bufio.Reader) error
	switch {
	case strings.HasSuffix(name, ".csv"):
		parse = t.readCSV
	case strings.HasSuffix(name, ".tsv"):
		parse = t.readTSV
	case strings.HasSuffix(name, ".jsonl"):
		parse = t.readJSONL
	default:
		return t.fail(0, "the name ends in none of .csv, .tsv, .jsonl (or these with .gz)")
	}
	if err := t.Columns.check(); err != nil {
		return t.fail(0, "%v", err)
	}
	if zipped {
		z, err := gzip.NewReader(r)
		if err != nil {
			return t.fail(0, "not a gzip file: %v", err)
		}
		r = z
	}
	b := bufio.NewReaderSize(r, 1<<16)
	switch err := utf8text.Begin(b); err {
	case nil:
	case utf8text.ErrEmpty, utf8text.ErrGitLFS:
		return t.fail(0, "%v", err)
	case utf8text.ErrUTF16:
		return t.fail(1, "%v", err)
	default:
		return err
	}
	if err := parse(b); err != nil {
		return err
	}
	if len(t.Rows) == 0 {
		return t.fail(0, "the file has no rows")
	}
	return nil
}

func (c Columns) check() error {
	switch {
	case c.Text == "":
		return errors.New("no column is named for the text")
	case c.Text == c.Pair, c.Text == c.Label:
		return fmt.Errorf("column %q is named twice", c.Text)
	case c.Pair != "" && c.Pair == c.Label:
		return fmt.Errorf("column %q is named twice", c.Pair)
	}
	return nil
}

func (t *Table) fail(line int, format string, args ...any) *Error {
	return &Error{File: t.Path, Line: line, Msg: fmt.Sprintf(format, args...)}
}

// add checks a row and takes it into the table.
func (t *Table) add(r Row) error {
	if t.Columns.Label != "" && !t.Columns.Several && strings.TrimSpace(r.Label) == "" {
		return t.fail(r.Line, "the label (column %q) is empty", t.Columns.Label)
	}
	t.count(r)
	t.Rows = append(t.Rows, r)
	return nil
}

func (t *Table) count(r Row) {
	if r.replaced {
		if t.InvalidUTF8++; t.InvalidUTF8 == 1 {
			t.FirstInvalid = r.Line
		}
	}
	if strings.TrimSpace(r.Text) == "" {
		if t.Empty++; t.Empty == 1 {
			t.FirstEmpty = r.Line
		}
	}
}

// Classes returns the labels that occur, once each, sorted; by value when all are whole numbers, so
// that the label 10 comes after 9.
func (t *Table) Classes() []string {
	seen := map[string]bool{}
	var classes []string
	for _, r := range t.Rows {
		if r.Label != "" && !seen[r.Label] {
			seen[r.Label] = true
			classes = append(classes, r.Label)
		}
	}
	labels.Sort(classes)
	return classes
}

// Indices returns for every row the position of its label in classes. A label that is no class is an
// error that names the line.
func (t *Table) Indices(classes []string) ([]int, error) {
	position := make(map[string]int, len(classes))
	for i, c := range classes {
		position[c] = i
	}
	indices := make([]int, len(t.Rows))
	for i, r := range t.Rows {
		p, ok := position[r.Label]
		if !ok {
			return nil, t.fail(r.Line, "the label %s is not a class; the classes are %s%s",
				suggest.Quote(r.Label), suggest.List(classes), suggest.DidYouMean(r.Label, classes))
		}
		indices[i] = p
	}
	return indices, nil
}

// Part returns the table of the rows that keep says yes to.
func (t *Table) Part(keep func(i int) bool) *Table {
	part := &Table{Path: t.Path, Columns: t.Columns}
	for i, r := range t.Rows {
		if keep(i) {
			part.Rows = append(part.Rows, r)
			part.count(r)
		}
	}
	return part
}

// Fault is an error about a row.
func (t *Table) Fault(r Row, format string, args ...any) error {
	return t.fail(r.Line, format, args...)
}

// Duplicates returns how many rows of test are also in train, as the same text and pair whatever
// the label: accuracy on them tells nothing.
func Duplicates(train, test *Table) int {
	seen := make(map[[2]string]bool, len(train.Rows))
	for _, r := range train.Rows {
		seen[[2]string{r.Text, r.Pair}] = true
	}
	n := 0
	for _, r := range test.Rows {
		if seen[[2]string{r.Text, r.Pair}] {
			n++
		}
	}
	return n
}
