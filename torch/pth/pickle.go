package pth

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"unicode/utf8"
)

// The limits of the unpickler. A pickle can ask for memory far beyond its own size, so that what it makes is counted,
// in bytes that are estimated on the high side. ResNet-152 with AdamW's state, 2,300 tensors, takes 4.0 MB of the
// budget.
const (
	budget      = 32 << 20
	maxStack    = 1 << 18
	maxMarks    = 1 << 14
	maxLine     = 1024 // bytes of a number or name in text
	maxLong     = 1024 // bytes of a binary number
	maxProtocol = 5
)

// The values that a pickle is made of here: none, bool, int64, *big.Int, string, DType, and the following. A
// value that no tensor or key depends on is kept by its kind only.
type (
	none   struct{}
	opaque string // such as "a float" or "bytes"
	tuple  []any
	list   struct{ items []any }
	dict   struct{ pairs []pair } // in file order; a key may be there twice
	pair   struct{ key, value any }
)

// machine runs one pickle: a program for a stack machine. This one has no instruction that calls, imports or makes
// anything but what is listed in this package. The first error is kept, and ends the run.
type machine struct {
	file, record string
	data         []byte
	base         int64 // of data in the record or file
	pos, at      int   // the next byte, and the instruction that is run
	stack        []any
	marks        []int
	memo         map[uint64]any
	spent        int
	most         int // the most bytes that an expanded tensor may have
	persistent   func(m *machine, id tuple) any
	err          error
}

func sprintf(format string, args ...any) string { return fmt.Sprintf(format, args...) }

// fail keeps the first error.
func (m *machine) fail(format string, args ...any) any {
	if m.err == nil {
		m.err = &Error{File: m.file, Record: m.record, Offset: m.base + int64(m.at), Msg: sprintf(format, args...)}
	}
	return nil
}

// failTensor is fail for a tensor that is being made: its key, if it will have one, is what was pushed before it.
func (m *machine) failTensor(format string, args ...any) any {
	if m.err != nil {
		return nil
	}
	m.fail(format, args...)
	for i := len(m.stack) - 1; i >= 0; i-- {
		if _, ok := m.stack[i].(*global); ok {
			continue
		}
		if key, ok := m.stack[i].(string); ok {
			m.err.(*Error).Tensor = key
		}
		break
	}
	return nil
}

// charge counts memory that the pickle asks for.
func (m *machine) charge(n int) bool {
	if n > budget-m.spent {
		m.fail("what it describes takes more than %d MB without the tensors' data: save the state dict alone", budget>>20)
		return false
	}
	m.spent += n
	return true
}

// run runs the pickle at pos and returns its value; pos is then behind its end. The budget lasts for all runs.
func (m *machine) run() (any, error) {
	m.stack, m.marks, m.memo = m.stack[:0], m.marks[:0], map[uint64]any{}
	for m.err == nil {
		m.at = m.pos
		op := m.byte()
		if op == '.' && m.err == nil {
			v := m.pop()
			if len(m.stack) > 0 || len(m.marks) > 0 {
				m.fail("the pickle ends with %d values too many", len(m.stack)+len(m.marks))
			}
			return v, m.err
		}
		m.step(op)
	}
	return nil, m.err
}

func (m *machine) push(v any) {
	if len(m.stack) >= maxStack {
		m.fail("more than %d values on the pickle's stack", maxStack)
	}
	if m.err == nil {
		m.stack = append(m.stack, v)
	}
}

func (m *machine) floor() int {
	if len(m.marks) == 0 {
		return 0
	}
	return m.marks[len(m.marks)-1]
}

func (m *machine) pop() any {
	if m.err != nil || len(m.stack) <= m.floor() {
		return m.fail("the pickle takes a value from an empty stack")
	}
	v := m.stack[len(m.stack)-1]
	m.stack = m.stack[:len(m.stack)-1]
	return v
}

// popMark takes the values since the last mark off the stack. They must be copied before the next push.
func (m *machine) popMark() []any {
	if m.err != nil || len(m.marks) == 0 {
		m.fail("the pickle looks for a mark that is not there")
		return nil
	}
	from := m.floor()
	m.marks = m.marks[:len(m.marks)-1]
	items := m.stack[from:]
	m.stack = m.stack[:from]
	return items
}

// take reads n bytes.
func (m *machine) take(n uint64) []byte {
	if n > uint64(len(m.data)-m.pos) {
		m.fail("the pickle ends too early: %d bytes are asked for, %d are left: truncated?", n, len(m.data)-m.pos)
	}
	if m.err != nil {
		return nil
	}
	b := m.data[m.pos : m.pos+int(n)]
	m.pos += int(n)
	return b
}

func (m *machine) byte() byte { return byte(m.uint(1)) }

// uint reads a little-endian number of n bytes.
func (m *machine) uint(n uint64) uint64 {
	var b [8]byte
	copy(b[:], m.take(n))
	return binary.LittleEndian.Uint64(b[:])
}

// line reads up to a line feed.
func (m *machine) line() string {
	rest := m.data[m.pos:]
	n := bytes.IndexByte(rest[:min(len(rest), maxLine)], '\n')
	if n < 0 {
		m.fail("the pickle has no end of line in the next %d bytes", min(len(rest), maxLine))
		return ""
	}
	m.pos += n + 1
	return string(rest[:n])
}

// text pushes a string of n bytes.
func (m *machine) text(n uint64) {
	b := m.take(n)
	switch {
	case m.err != nil:
	case !utf8.Valid(b):
		m.fail("the string %s is not UTF-8", quote(string(b[:min(len(b), 300)])))
	case m.charge(32 + len(b)):
		m.push(string(b))
	}
}

// oldText pushes a string of Python 2, which may stand for bytes.
func (m *machine) oldText(n uint64) {
	if rest := m.data[m.pos:]; n <= uint64(len(rest)) && !utf8.Valid(rest[:n]) {
		m.blob(n, "bytes")
		return
	}
	m.text(n)
}

// blob passes over n bytes and pushes what they are.
func (m *machine) blob(n uint64, kind opaque) {
	m.take(n)
	m.push(kind)
}

// long pushes a number of n bytes, two's complement, little-endian.
func (m *machine) long(n uint64) {
	if n > maxLong {
		m.fail("a number of %d bytes, the limit is %d", n, maxLong)
		return
	}
	b := slices.Clone(m.take(n))
	slices.Reverse(b)
	x := new(big.Int).SetBytes(b)
	if len(b) > 0 && b[0] >= 0x80 {
		x.Sub(x, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	m.number(x)
}

func (m *machine) number(x *big.Int) {
	switch {
	case x.IsInt64():
		m.integer(x.Int64())
	case m.charge(64 + x.BitLen()/8):
		m.push(x)
	}
}

func (m *machine) integer(n int64) {
	if m.charge(8) {
		m.push(n)
	}
}

// textNumber pushes a number in decimal: I (where 00 and 01 are the booleans), or L, which ends in an L.
func (m *machine) textNumber(op byte) {
	s := m.line()
	if op == 'I' && (s == "00" || s == "01") {
		m.push(s == "01")
		return
	}
	if op == 'L' {
		s = string(bytes.TrimSuffix([]byte(s), []byte("L")))
	}
	x, ok := new(big.Int).SetString(s, 10)
	if !ok {
		m.fail("%s is not a number", quote(s))
		return
	}
	m.number(x)
}

func (m *machine) tuple(items []any) {
	if m.err == nil && m.charge(24+16*len(items)) {
		m.push(tuple(slices.Clone(items)))
	}
}

// tupleOf makes a tuple of the n values on top.
func (m *machine) tupleOf(n int) {
	if len(m.stack)-m.floor() < n {
		m.fail("the pickle takes a value from an empty stack")
		return
	}
	from := len(m.stack) - n
	items := m.stack[from:]
	m.stack = m.stack[:from]
	m.tuple(items)
}

func (m *machine) appendTo(items []any) {
	if _, ok := m.top().(*foreign); ok {
		return
	}
	l, ok := m.top().(*list)
	if !ok {
		m.fail("the pickle appends to %s", kind(m.top()))
	}
	if m.err == nil && m.charge(32*len(items)) {
		l.items = append(l.items, items...)
	}
}

func (m *machine) setIn(items []any) {
	if _, ok := m.top().(*foreign); ok {
		return
	}
	d, ok := m.top().(*dict)
	if !ok {
		m.fail("the pickle sets a key of %s", kind(m.top()))
	}
	if len(items)%2 != 0 {
		m.fail("the pickle sets a key without a value")
	}
	if m.err != nil || !m.charge(32*len(items)) {
		return
	}
	for i := 0; i < len(items); i += 2 {
		d.pairs = append(d.pairs, pair{items[i], items[i+1]})
	}
}

// top is the value on top, nil if there is none.
func (m *machine) top() any {
	if len(m.stack) <= m.floor() {
		return nil
	}
	return m.stack[len(m.stack)-1]
}

func (m *machine) put(index uint64) {
	v := m.top()
	if v == nil {
		m.fail("the pickle remembers a value of an empty stack")
		return
	}
	if _, ok := m.memo[index]; !ok && !m.charge(64) {
		return
	}
	m.memo[index] = v
}

func (m *machine) get(index uint64) {
	v, ok := m.memo[index]
	if !ok {
		m.fail("the pickle recalls value %d, which it never remembered", index)
	}
	m.push(v)
}

// textIndex reads a memo's index in decimal.
func (m *machine) textIndex() uint64 {
	s := m.line()
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		m.fail("%s is not a number from 0 to 2^32-1", quote(s))
	}
	return n
}

// kind names a value in an error.
func kind(v any) string {
	switch v := v.(type) {
	case nil:
		return "nothing"
	case none:
		return "None"
	case bool:
		return "a bool"
	case int64, *big.Int:
		return "an int"
	case string:
		return "the string " + quote(v)
	case opaque:
		return string(v)
	case tuple:
		return "a tuple"
	case *list:
		return "a list"
	case *dict:
		return "a dict"
	case *tensor:
		return "a tensor"
	case *typedStorage:
		return "a storage"
	case *global:
		return v.name
	case *foreign:
		return plain(v.name)
	}
	return sprintf("%v", v)
}
