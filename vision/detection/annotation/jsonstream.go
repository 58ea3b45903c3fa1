package annotation

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"

	"github.com/thaw-ml/thaw/internal/suggest"
)

const (
	// maxValue bounds the bytes of one entry of a list, and of one string elsewhere: what has to be held at once. The
	// longest annotation of COCO 2017, with its outline, has 60 kB.
	maxValue = 32 << 20
	maxDepth = 1000
)

var errTooLong = fmt.Errorf("an entry is longer than %d MiB", maxValue>>20)

// budgetReader gives an error after so many bytes, unless they are renewed.
type budgetReader struct {
	r    io.Reader
	left int
}

func (b *budgetReader) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooLong
	}
	n, err := b.r.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// finiteReader puts strings in the place of NaN, Infinity and -Infinity, which Python writes and JSON does not have, so
// that the number, and not the file, is at fault. Offsets stay.
type finiteReader struct {
	r        io.Reader
	buf      []byte // what was read and is not yet given; what is before clean was looked through
	clean    int
	inString bool
	escaped  bool
	err      error
}

var notFinite = [...]struct{ name, instead string }{
	{"NaN", `"" `}, {"Infinity", `""      `}, {"-Infinity", `""       `},
}

const longestName = len("-Infinity")

func (f *finiteReader) Read(p []byte) (int, error) {
	for f.clean == 0 {
		if f.err != nil && len(f.buf) == 0 {
			return 0, f.err
		}
		if f.err == nil {
			start := len(f.buf)
			f.buf = append(f.buf, make([]byte, 64<<10)...)
			var n int
			n, f.err = f.r.Read(f.buf[start:])
			f.buf = f.buf[:start+n]
		}
		f.look()
	}
	n := copy(p, f.buf[:f.clean])
	f.buf = f.buf[:copy(f.buf, f.buf[n:])]
	f.clean -= n
	return n, nil
}

// look goes through what was read, up to where a name may be cut off.
func (f *finiteReader) look() {
	for f.clean < len(f.buf) {
		c := f.buf[f.clean]
		switch {
		case f.escaped:
			f.escaped = false
		case f.inString:
			f.escaped = c == '\\'
			f.inString = c != '"'
		case c == '"':
			f.inString = true
		case c == 'N' || c == 'I' || c == '-':
			rest := f.buf[f.clean:]
			if len(rest) < longestName && f.err == nil {
				return
			}
			for _, n := range notFinite {
				if bytes.HasPrefix(rest, []byte(n.name)) {
					copy(rest, n.instead)
					break
				}
			}
			if f.buf[f.clean] == '"' {
				f.inString = true
			}
		}
		f.clean++
	}
}

// jsonStream reads JSON value by value.
type jsonStream struct {
	*json.Decoder
	budget *budgetReader
}

func newJSONStream(r io.Reader) *jsonStream {
	budget := &budgetReader{&finiteReader{r: r}, maxValue}
	return &jsonStream{json.NewDecoder(budget), budget}
}

// token is the next token, and renews the budget.
func (s *jsonStream) token() (json.Token, error) {
	s.budget.left = maxValue
	return s.Token()
}

// value decodes the next value.
func (s *jsonStream) value(to any) error {
	s.budget.left = maxValue
	return s.Decode(to)
}

// skip passes over the next value without holding it.
func (s *jsonStream) skip() error {
	for depth := 0; ; {
		t, err := s.token()
		if err != nil {
			return err
		}
		if d, ok := t.(json.Delim); ok {
			if d == '{' || d == '[' {
				depth++
			} else {
				depth--
			}
		}
		if depth == 0 {
			return nil
		}
		if depth > maxDepth {
			return fmt.Errorf("values are nested more than %d deep", maxDepth)
		}
	}
}

// delim reads a bracket.
func (s *jsonStream) delim(want json.Delim, what string) error {
	t, err := s.token()
	if err != nil {
		return err
	}
	if t != want {
		return fmt.Errorf("want %s, found %s", what, suggest.Shorten(fmt.Sprint(t)))
	}
	return nil
}

// syntax words what the decoder says of a file that is no JSON.
func syntax(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the file is cut off")
	}
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Errorf("not JSON at byte %d: %v", e.Offset, e)
	}
	return err
}

// number is a number of a JSON file. What is none is kept, so that the error can name its key.
type number struct {
	value      float64
	given, bad bool
	found      string // what is bad
}

// UnmarshalJSON implements json.Unmarshaler. It returns no error.
func (n *number) UnmarshalJSON(b []byte) error {
	n.given = true
	if n.value, n.bad = parseNumber(b); n.bad {
		n.found = suggest.Shorten(string(b))
	}
	return nil
}

// parseNumber reads a number; NaN is what finiteReader put in the place of a number, and one too large is infinite.
func parseNumber(b []byte) (v float64, bad bool) {
	if string(b) == `""` {
		return math.NaN(), false
	}
	v, err := strconv.ParseFloat(string(b), 64)
	if errors.Is(err, strconv.ErrRange) {
		return v, false
	}
	return v, err != nil || b[0] == '+'
}

// integer is a whole number of a JSON file, which may be spelled 1.0.
type integer struct {
	value      int64
	given, bad bool
	found      string
}

// UnmarshalJSON implements json.Unmarshaler. It returns no error.
func (n *integer) UnmarshalJSON(b []byte) error {
	n.given = true
	var err error
	if n.value, err = strconv.ParseInt(string(b), 10, 64); err == nil {
		return nil
	}
	v, bad := parseNumber(b)
	if n.bad = bad || v != math.Trunc(v) || math.Abs(v) > 1<<53; n.bad {
		n.found = suggest.Shorten(string(b))
		return nil
	}
	n.value = int64(v)
	return nil
}

// truth is 0, 1, false or true.
type truth struct {
	value, bad bool
	found      string
}

// UnmarshalJSON implements json.Unmarshaler. It returns no error.
func (t *truth) UnmarshalJSON(b []byte) error {
	switch string(b) {
	case "1", "1.0", "true":
		t.value = true
	case "0", "0.0", "false", "null":
		t.value = false
	default:
		t.bad, t.found = true, suggest.Shorten(string(b))
	}
	return nil
}

// fourNumbers is COCO's bbox: x, y, width, height.
type fourNumbers struct {
	value      [4]float64
	given, bad bool
	found      string
}

// UnmarshalJSON implements json.Unmarshaler. It returns no error.
func (f *fourNumbers) UnmarshalJSON(b []byte) error {
	f.given = true
	if f.bad = !f.parse(b); f.bad {
		f.found = suggest.Shorten(string(b))
	}
	return nil
}

func (f *fourNumbers) parse(list []byte) bool {
	if len(list) < 2 || list[0] != '[' {
		return false
	}
	rest := list[1 : len(list)-1]
	for i := range f.value {
		item, after, more := bytes.Cut(rest, []byte(","))
		item = bytes.TrimSpace(item)
		if more != (i < 3) || len(item) == 0 {
			return false
		}
		var bad bool
		if f.value[i], bad = parseNumber(item); bad {
			return false
		}
		rest = after
	}
	return true
}
