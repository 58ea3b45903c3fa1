package annotation

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/thaw-ml/thaw/internal/fserror"
	"github.com/thaw-ml/thaw/internal/quantity"
	"github.com/thaw-ml/thaw/internal/utf8text"
)

// textFile is a file that is read from its beginning, without its byte order mark.
type textFile struct {
	*bufio.Reader
	file *os.File
}

func (t *textFile) Close() error { return t.file.Close() }

// openText opens a file that is text in UTF-8. One of more than most bytes is refused; 0 means any size. An empty file
// is an error unless emptyToo is set. Errors do not name the file.
func openText(path string, most int64, emptyToo bool) (*textFile, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe without a writer would hold it up
	if err != nil {
		return nil, fserror.WithoutPath(err)
	}
	t, err := newTextFile(f, most, emptyToo)
	if err != nil {
		f.Close()
		return nil, err
	}
	return t, nil
}

func newTextFile(f *os.File, most int64, emptyToo bool) (*textFile, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, fserror.WithoutPath(err)
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is a folder, device, pipe or socket")
	}
	if most > 0 && info.Size() > most {
		return nil, fmt.Errorf("it has %s bytes, more than the %s that such a file may have",
			quantity.Digits(int(info.Size())), quantity.Digits(int(most)))
	}
	t := &textFile{bufio.NewReaderSize(f, 64<<10), f}
	if err := utf8text.Begin(t.Reader); err != nil && !(emptyToo && err == utf8text.ErrEmpty) {
		return nil, fserror.WithoutPath(err)
	}
	return t, nil
}

// maxLine bounds a line of a text file. A polygon of 1,000 corners has 20 kB.
const maxLine = 1 << 20

var errLongLine = fmt.Errorf("a line is longer than %s bytes", quantity.Digits(maxLine))

// lines calls f for every line of r, without the spaces around it, until f returns an error. The line of an error is
// returned beside it.
func lines(r io.Reader, f func(line int, text []byte) error) (int, error) {
	s := bufio.NewScanner(r)
	s.Buffer(nil, maxLine)
	line := 0
	for s.Scan() {
		line++
		if err := f(line, bytes.TrimSpace(s.Bytes())); err != nil {
			return line, err
		}
	}
	if errors.Is(s.Err(), bufio.ErrTooLong) {
		return line + 1, errLongLine
	}
	return line + 1, s.Err()
}
