package launch

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

// What is kept of a rank's last words.
const (
	lastBytes = 8 << 10
	lastLines = 12
)

// output is where a rank writes. The first rank of a node writes where this process does; the others write to their
// logs.
type output struct {
	out, err io.Writer // as exec.Cmd takes them: a file is handed over as it is
	path     string    // of the log file; "" where there is none
	log      *os.File
	last     tail
	first    bool
}

// open opens the output of a rank.
func (s *supervisor) open(number, local int) (*output, error) {
	o := &output{first: local == 0}
	if s.LogDir != "" {
		o.path = filepath.Join(s.LogDir, fmt.Sprintf("rank%d.log", number))
		var err error
		if o.log, err = os.OpenFile(o.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644); err != nil {
			return nil, err
		}
		fmt.Fprintf(o.log, "---- rank %d of %d, start %d, %s: %s\n", number, s.World.Size, s.restart+1,
			time.Now().Format(time.RFC3339), strings.Join(s.Command, " "))
	}
	switch {
	case !o.first && o.log != nil:
		o.out, o.err = o.log, o.log
	case !o.first:
		o.out, o.err = &o.last, &o.last
	case o.log == nil:
		o.out, o.err = s.Stdout, io.MultiWriter(&o.last, s.Stderr)
	default:
		o.out, o.err = io.MultiWriter(o.log, s.Stdout), io.MultiWriter(&o.last, o.log, s.Stderr)
	}
	switch {
	case !o.first:
	case term.IsTerminal(int(s.Stdout.Fd())): // bars are drawn on a terminal only
		o.out = s.Stdout
	case sameFile(s.Stdout, s.Stderr): // one pipe, which keeps the order
		o.out = o.err
	}
	return o, nil
}

func sameFile(a, b *os.File) bool {
	of, err := a.Stat()
	if err != nil {
		return false
	}
	other, err := b.Stat()
	return err == nil && os.SameFile(of, other)
}

// close closes the log and says what the rank wrote last: to its standard error, and where a log or nobody saw it, to
// its output as well.
func (o *output) close() (words []byte) {
	if o.log != nil {
		o.log.Close()
		if !o.first {
			return end(o.path)
		}
	}
	return o.last.bytes()
}

// unseen are the last lines of what a rank wrote, where nobody has seen them.
func (o *output) unseen(words []byte) []string {
	lines := strings.Split(strings.TrimRight(string(words), "\n"), "\n")
	if o.first || len(words) == 0 || len(lines) == 1 && strings.HasPrefix(lines[0], "---- rank ") {
		return nil
	}
	return lines[max(0, len(lines)-lastLines):]
}

// end reads the end of a file; nothing where it cannot be read.
func end(path string) []byte {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > lastBytes {
		_, _ = f.Seek(-lastBytes, io.SeekEnd)
	}
	data, _ := io.ReadAll(f)
	return data
}

// tail keeps the last bytes that were written to it, from the start of a line.
type tail struct {
	sync.Mutex
	data []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.Lock()
	defer t.Unlock()
	t.data = append(t.data, p...)
	if over := len(t.data) - lastBytes; over > 0 {
		if newline := bytes.IndexByte(t.data[over:], '\n'); newline >= 0 {
			over += newline + 1
		}
		t.data = append(t.data[:0], t.data[over:]...)
	}
	return len(p), nil
}

func (t *tail) bytes() []byte {
	t.Lock()
	defer t.Unlock()
	return t.data
}
