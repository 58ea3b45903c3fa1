package corpus

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/thaw-ml/thaw/internal/suggest"
)

// header says where the columns of a table with a header line are.
type header struct {
	width             int
	text, pair, label int // -1 for a column that is not asked for
}

func (t *Table) header(names []string, line int) (header, error) {
	for i, n := range names {
		names[i], _ = replaceInvalid(n)
	}
	h := header{width: len(names)}
	for _, c := range []struct {
		name string
		at   *int
	}{{t.Columns.Text, &h.text}, {t.Columns.Pair, &h.pair}, {t.Columns.Label, &h.label}} {
		*c.at = slices.Index(names, c.name)
		if c.name == "" {
			*c.at = -1
		} else if *c.at < 0 {
			err := t.missing(line, c.name, names)
			err.Msg += t.separator(names)
			return header{}, err
		} else if slices.Contains(names[*c.at+1:], c.name) {
			return header{}, t.fail(line, "the header names column %q twice", c.name)
		}
	}
	return h, nil
}

func (t *Table) missing(line int, column string, columns []string) *Error {
	err := t.fail(line, "there is no column %q; the columns are %s%s", column, suggest.List(columns), suggest.DidYouMean(column, columns))
	err.Column = column
	return err
}

// separator names what separates the fields where a header line of one name shows that it is not the format's own.
func (t *Table) separator(names []string) string {
	if len(names) != 1 {
		return ""
	}
	name, _ := strings.CutSuffix(strings.ToLower(t.Path), ".gz")
	tabs := strings.HasSuffix(name, ".tsv")
	switch {
	case strings.Contains(names[0], ";"):
		return ": semicolons separate them here; save the file with commas, as .csv, or tabs, as .tsv"
	case !tabs && strings.Contains(names[0], "\t"):
		return ": tabs separate them here; name the file .tsv"
	case tabs && strings.Contains(names[0], ","):
		return ": commas separate them here; name the file .csv"
	}
	return ""
}

// addFields takes one row of a table with a header line.
func (t *Table) addFields(h header, fields []string, line int) error {
	if len(fields) != h.width {
		return t.fail(line, "expected %d columns, got %d", h.width, len(fields))
	}
	row := Row{Line: line}
	for i, f := range fields {
		var to *string
		switch i {
		case h.text:
			to = &row.Text
		case h.pair:
			to = &row.Pair
		case h.label:
			to = &row.Label
		default:
			row.replaced = row.replaced || !utf8.ValidString(f)
			continue
		}
		s, replaced := replaceInvalid(f)
		row.replaced = row.replaced || replaced
		*to = strings.Clone(s) // so that the rest of the row can go
	}
	return t.add(row)
}

func (t *Table) readCSV(b *bufio.Reader) error {
	r := csv.NewReader(b)
	r.FieldsPerRecord = -1 // addFields counts, and words it better
	r.ReuseRecord = true
	var h header
	for {
		fields, err := r.Read()
		if err == io.EOF {
			return nil
		}
		if p, ok := errors.AsType[*csv.ParseError](err); ok {
			return t.quoting(p)
		}
		if err != nil {
			return err
		}
		line, _ := r.FieldPos(0)
		if h.width == 0 {
			h, err = t.header(slices.Clone(fields), line)
		} else {
			err = t.addFields(h, fields, line)
		}
		if err != nil {
			return err
		}
	}
}

// quoting words an error of encoding/csv.
func (t *Table) quoting(p *csv.ParseError) error {
	switch p.Err {
	case csv.ErrBareQuote:
		return t.fail(p.Line, `byte %d: a quote stands inside a field that is not in quotes: `+
			`write 6" book as "6"" book", in quotes and the quote doubled`, p.Column)
	case csv.ErrQuote:
		return t.fail(p.StartLine, "a quoted field in the row that starts here is not closed, or goes on after its closing quote (seen at line %d, column %d)",
			p.Line, p.Column)
	}
	return t.fail(p.Line, "%v", p.Err)
}

func (t *Table) readTSV(b *bufio.Reader) error {
	var h header
	return lines(b, func(line int, raw []byte) (err error) {
		fields := strings.Split(string(raw), "\t")
		open := false
		for i, f := range fields {
			fields[i] = unquote(f)
			open = open || strings.HasPrefix(f, `"`) && (len(f) == 1 || !strings.HasSuffix(f, `"`))
		}
		switch {
		case h.width == 0:
			h, err = t.header(fields, line)
			return err
		case len(fields) != h.width && open:
			return t.fail(line, "expected %d columns, got %d: does a field in quotes hold a tab or a line end? "+
				"A .tsv is split at each; save it as .csv", h.width, len(fields))
		}
		return t.addFields(h, fields, line)
	})
}

// unquote undoes what pandas and Excel do to a field of a .tsv that has quotes: they stand doubled, in quotes. A field
// in quotes without others inside is as it was meant: these programs would not have put it into quotes.
func unquote(field string) string {
	if len(field) < 4 || field[0] != '"' || field[len(field)-1] != '"' {
		return field
	}
	inside := field[1 : len(field)-1]
	single := strings.ReplaceAll(inside, `""`, "")
	if len(single) == len(inside) || strings.Contains(single, `"`) {
		return field
	}
	return strings.ReplaceAll(inside, `""`, `"`)
}

func (t *Table) readJSONL(b *bufio.Reader) error {
	return lines(b, func(line int, raw []byte) error {
		if len(bytes.TrimSpace(raw)) == 0 {
			return nil
		}
		// Before parsing, as encoding/json replaces by another rule.
		fixed, replaced := replaceInvalid(string(raw))
		var object map[string]json.RawMessage
		err := json.Unmarshal([]byte(fixed), &object)
		if _, ok := errors.AsType[*json.UnmarshalTypeError](err); ok || err == nil && object == nil {
			return t.fail(line, "expected a JSON object")
		}
		if err != nil {
			return t.fail(line, "not JSON: %v", err)
		}
		row := Row{Line: line, replaced: replaced}
		if row.Text, err = t.jsonText(object, t.Columns.Text, line); err != nil {
			return err
		}
		if t.Columns.Pair != "" {
			if row.Pair, err = t.jsonText(object, t.Columns.Pair, line); err != nil {
				return err
			}
		}
		if t.Columns.Label != "" {
			if row.Label, row.Labels, err = t.jsonLabel(object, t.Columns.Label, line); err != nil {
				return err
			}
		}
		return t.add(row)
	})
}

func (t *Table) jsonText(object map[string]json.RawMessage, column string, line int) (string, error) {
	raw, ok := object[column]
	if !ok {
		return "", t.missing(line, column, slices.Sorted(maps.Keys(object)))
	}
	var s string // null leaves it empty
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", t.fail(line, "column %q must be a string, found %s", column, suggest.Shorten(string(raw)))
	}
	return s, nil
}

func (t *Table) jsonLabel(object map[string]json.RawMessage, column string, line int) (one string, several []string, err error) {
	raw, ok := object[column]
	if !ok {
		return "", nil, t.missing(line, column, slices.Sorted(maps.Keys(object)))
	}
	switch {
	case raw[0] == '"':
		one, err = t.jsonText(object, column, line)
	case raw[0] == '[' && t.Columns.Several:
		if json.Unmarshal(raw, &several) != nil {
			err = t.fail(line, "column %q must be a list of strings, found %s", column, suggest.Shorten(string(raw)))
		}
	case raw[0] == '{', raw[0] == '[':
		err = t.fail(line, "column %q must be a string, a number or a bool, found %s", column, suggest.Shorten(string(raw)))
	case raw[0] == 'n': // null
	default:
		one = string(raw)
	}
	return one, several, err
}

// lines calls each for every line that is not blank, without its line end.
func lines(b *bufio.Reader, each func(line int, raw []byte) error) error {
	for line := 1; ; line++ {
		raw, err := b.ReadBytes('\n')
		if err != nil && err != io.EOF {
			return err
		}
		last := err == io.EOF
		raw = bytes.TrimSuffix(raw, []byte("\n"))
		raw = bytes.TrimSuffix(raw, []byte("\r"))
		if len(raw) > 0 {
			if err := each(line, raw); err != nil {
				return err
			}
		}
		if last {
			return nil
		}
	}
}
