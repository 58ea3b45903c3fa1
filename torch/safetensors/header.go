package safetensors

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	prefixSize  = 8
	metadataKey = "__metadata__"

	// maxHeader is the reference's limit (src/tensor.rs, MAX_HEADER_SIZE).
	maxHeader = 100_000_000
	// maxTensors and maxRank are this package's: DeepSeek-V3, with some of the most tensors of any
	// published checkpoint, has 92,000 in 163 files, and libtorch's operators stop at 64 dimensions
	// (at::TensorIterator).
	maxTensors = 1 << 18
	maxRank    = 64
)

// span is where a tensor's bytes lie, counted from the end of the header.
type span struct{ begin, end int }

// parseHeader reads and checks the header of a whole file. The tensors come in the order of their
// bytes.
func parseHeader(path string, file []byte) ([]Info, map[string]string, error) {
	raw, err := headerBytes(path, file)
	if err != nil {
		return nil, nil, err
	}
	data := file[prefixSize+len(raw):]
	r := newReader(path, raw, prefixSize)

	var (
		tensors  []Info
		spans    []span
		metadata map[string]string
		seen     = map[string]bool{}
	)
	err = r.object("the header", func(key string, at int64) error {
		if seen[key] {
			return r.fail(at, "", "the key %s is there twice", quote(key))
		}
		seen[key] = true
		if key == metadataKey {
			var err error
			metadata, err = r.stringMap("the value of " + metadataKey)
			return err
		}
		if len(tensors) == maxTensors {
			return r.fail(at, "", "more than %d tensors", maxTensors)
		}
		t, s, err := r.tensor(key)
		tensors, spans = append(tensors, t), append(spans, s)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	if err := r.end("the header"); err != nil {
		return nil, nil, err
	}
	tensors, err = place(path, tensors, spans, data)
	if err != nil {
		return nil, nil, err
	}
	return tensors, metadata, nil
}

// headerBytes cuts the JSON out of the file.
func headerBytes(path string, file []byte) ([]byte, error) {
	if len(file) < prefixSize {
		return nil, &Error{File: path, Offset: -1, Msg: fmt.Sprintf(
			"%d bytes are too few: the length of the header alone takes %d", len(file), prefixSize)}
	}
	n := binary.LittleEndian.Uint64(file)
	msg := ""
	switch {
	case n > maxHeader:
		msg = fmt.Sprintf("the header's length is %d, the limit is %d: is this a safetensors file?", n, maxHeader)
	case n > uint64(len(file)-prefixSize):
		msg = fmt.Sprintf("the header's length is %d, but only %d bytes follow", n, len(file)-prefixSize)
	default:
		return file[prefixSize : prefixSize+n], nil
	}
	if kind := mistaken(file); kind != "" {
		msg = "this is " + kind
	}
	return nil, &Error{File: path, Offset: 0, Msg: msg}
}

// tensor reads the value that describes one tensor and checks all that can be checked without the
// others.
func (r *reader) tensor(name string) (Info, span, error) {
	t := Info{Name: name, Shape: []int{}}
	var offsets []int
	seen := map[string]bool{}
	fail := func(format string, args ...any) (Info, span, error) {
		return Info{}, span{}, r.fail(-1, name, format, args...)
	}
	r.about = name
	defer func() { r.about = "" }()
	err := r.object("a tensor's description", func(key string, at int64) (err error) {
		if seen[key] {
			return r.fail(at, name, "the key %s is there twice", quote(key))
		}
		seen[key] = true
		switch key {
		case "dtype":
			var d string
			d, err = r.string("dtype")
			t.DType = DType(d)
		case "shape":
			t.Shape, err = r.ints("shape", maxRank)
		case "data_offsets":
			offsets, err = r.ints("data_offsets", 2)
		default: // the reference skips what it does not know
			err = r.skip()
		}
		return err
	})
	if err != nil {
		return Info{}, span{}, err
	}
	for _, key := range []string{"dtype", "shape", "data_offsets"} {
		if !seen[key] {
			return fail("has no %s", key)
		}
	}
	if len(offsets) != 2 {
		return fail("data_offsets must be two numbers, begin and end, found %d", len(offsets))
	}
	s := span{offsets[0], offsets[1]}
	if !t.DType.Known() {
		return fail("dtype %s is not one of the format's", quote(string(t.DType)))
	}
	if s.begin > s.end {
		return fail("data_offsets [%d, %d] end before they begin", s.begin, s.end)
	}
	size, err := t.DType.ByteSize(t.Shape)
	if err != nil {
		return fail("%v", err)
	}
	if size != s.end-s.begin {
		return fail("%s of shape %v takes %d bytes, but data_offsets [%d, %d] hold %d",
			t.DType, t.Shape, size, s.begin, s.end, s.end-s.begin)
	}
	return t, s, nil
}

// place gives every tensor its bytes, having checked that together they cover data exactly.
func place(path string, tensors []Info, spans []span, data []byte) ([]Info, error) {
	order := make([]int, len(tensors))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		if spans[a].begin != spans[b].begin {
			return spans[a].begin - spans[b].begin // both are in 0..MaxInt
		}
		return spans[a].end - spans[b].end
	})
	placed := make([]Info, 0, len(tensors))
	end := 0
	for _, i := range order {
		t, s := tensors[i], spans[i]
		fail := func(format string, args ...any) ([]Info, error) {
			return nil, &Error{File: path, Tensor: t.Name, Offset: -1, Msg: fmt.Sprintf(format, args...)}
		}
		switch {
		case s.end > len(data):
			return fail("data_offsets [%d, %d] reach past the end of the file, which has %d bytes of data: truncated?",
				s.begin, s.end, len(data))
		case s.begin < end:
			return fail("data_offsets [%d, %d] overlap those of tensor %s, which end at %d",
				s.begin, s.end, quote(placed[len(placed)-1].Name), end)
		case s.begin > end:
			return fail("data_offsets [%d, %d] leave a hole: the data before ends at %d", s.begin, s.end, end)
		}
		t.Data = data[s.begin:s.end:s.end]
		placed = append(placed, t)
		end = s.end
	}
	if end != len(data) {
		return nil, &Error{File: path, Offset: -1, Msg: fmt.Sprintf(
			"%d bytes of data belong to no tensor: the tensors end at %d, the data at %d", len(data)-end, end, len(data))}
	}
	return placed, nil
}

// reader reads the small part of JSON that headers and indices are made of, with strings, numbers
// and places checked more strictly than encoding/json does.
type reader struct {
	path  string
	raw   []byte
	base  int64 // where raw starts in the file
	about string
	dec   *json.Decoder
}

func newReader(path string, raw []byte, base int64) *reader {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	return &reader{path: path, raw: raw, base: base, dec: dec}
}

func (r *reader) fail(at int64, tensor, format string, args ...any) error {
	return &Error{File: r.path, Tensor: tensor, Offset: at, Msg: fmt.Sprintf(format, args...)}
}

// position returns the place in the file where the next token starts.
func (r *reader) position() int64 {
	start := r.dec.InputOffset()
	for start < int64(len(r.raw)) && strings.IndexByte(" \t\r\n,:", r.raw[start]) >= 0 {
		start++
	}
	return r.base + start
}

// next returns the next token and where it starts.
func (r *reader) next() (json.Token, int64, error) {
	at := r.position()
	t, err := r.dec.Token()
	return t, at, r.syntax(err, at)
}

// syntax words an error of encoding/json, whose own offsets are counted in three different ways.
func (r *reader) syntax(err error, at int64) error {
	switch err {
	case nil:
		return nil
	case io.EOF, io.ErrUnexpectedEOF:
		return r.fail(r.base+int64(len(r.raw)), r.about, "the JSON ends too early")
	}
	return r.fail(at, r.about, "not JSON: %v", err)
}

// object calls entry for each key of an object; entry must read the value.
func (r *reader) object(what string, entry func(key string, at int64) error) error {
	t, at, err := r.next()
	if err != nil {
		return err
	}
	if t != json.Delim('{') {
		return r.fail(at, r.about, "%s must be an object, found %s", what, describe(t))
	}
	return r.entries(entry)
}

func (r *reader) entries(entry func(key string, at int64) error) error {
	for {
		t, at, err := r.next()
		if err != nil {
			return err
		}
		if t == json.Delim('}') {
			return nil
		}
		key := t.(string) // encoding/json has checked that a key is a string
		if err := r.unicode(key, at); err != nil {
			return err
		}
		if err := entry(key, at); err != nil {
			return err
		}
	}
}

// stringMap reads an object of strings; null stands for none, as in the reference.
func (r *reader) stringMap(what string) (map[string]string, error) {
	t, at, err := r.next()
	if err != nil || t == nil {
		return nil, err
	}
	if t != json.Delim('{') {
		return nil, r.fail(at, "", "%s must be an object, found %s", what, describe(t))
	}
	m := map[string]string{}
	err = r.entries(func(key string, at int64) error {
		if _, ok := m[key]; ok {
			return r.fail(at, "", "the key %s is there twice in %s", quote(key), what)
		}
		value, err := r.string(quote(key) + " in " + what)
		m[key] = value
		return err
	})
	return m, err
}

func (r *reader) string(what string) (string, error) {
	t, at, err := r.next()
	if err != nil {
		return "", err
	}
	s, ok := t.(string)
	if !ok {
		return "", r.fail(at, r.about, "%s must be a string, found %s", what, describe(t))
	}
	return s, r.unicode(s, at)
}

// ints reads an array of at most limit counts.
func (r *reader) ints(what string, limit int) ([]int, error) {
	t, at, err := r.next()
	if err != nil {
		return nil, err
	}
	if t != json.Delim('[') {
		return nil, r.fail(at, r.about, "%s must be an array, found %s", what, describe(t))
	}
	ints := []int{}
	for {
		t, at, err := r.next()
		if err != nil {
			return nil, err
		}
		if t == json.Delim(']') {
			return ints, nil
		}
		number, ok := t.(json.Number)
		if !ok {
			return nil, r.fail(at, r.about, "%s must hold numbers, found %s", what, describe(t))
		}
		n, err := strconv.ParseUint(number.String(), 10, 64)
		if err != nil || n > math.MaxInt {
			return nil, r.fail(at, r.about, "%s must hold whole numbers from 0 to %d, found %s", what, math.MaxInt, describe(t))
		}
		if len(ints) == limit {
			return nil, r.fail(at, r.about, "%s must hold at most %d numbers", what, limit)
		}
		ints = append(ints, int(n))
	}
}

// skip reads a value of any kind. encoding/json bounds its depth.
func (r *reader) skip() error {
	var v json.RawMessage
	at := r.position()
	return r.syntax(r.dec.Decode(&v), at)
}

// end checks that nothing but white space is left.
func (r *reader) end(what string) error {
	rest := r.raw[r.dec.InputOffset():]
	if i := bytes.IndexFunc(rest, func(c rune) bool { return !strings.ContainsRune(" \t\r\n", c) }); i >= 0 {
		return r.fail(r.base+r.dec.InputOffset()+int64(i), "", "%s goes on after its closing brace", what)
	}
	return nil
}

// unicode refuses a string that encoding/json had to repair, as two names could become one: a byte
// that is not UTF-8, or half a surrogate pair.
func (r *reader) unicode(s string, at int64) error {
	mended := strings.Count(s, string(utf8.RuneError))
	if mended == 0 {
		return nil
	}
	raw := r.raw[at-r.base : r.dec.InputOffset()]
	meant := bytes.Count(raw, []byte(string(utf8.RuneError))) + bytes.Count(bytes.ToLower(raw), []byte(`\ufffd`))
	if mended > meant {
		return r.fail(at, r.about, "the string %s is not valid Unicode", quote(s))
	}
	return nil
}

// describe names a token in an error.
func describe(t json.Token) string {
	switch t := t.(type) {
	case nil:
		return "null"
	case string:
		return "the string " + quote(t)
	case json.Number:
		if len(t) > 40 {
			t = t[:40] + "..."
		}
		return t.String()
	case json.Delim:
		switch t {
		case '{':
			return "an object"
		case '[':
			return "an array"
		}
	}
	return fmt.Sprint(t)
}
