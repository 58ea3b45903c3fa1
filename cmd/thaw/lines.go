package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"

	"golang.org/x/term"
)

// lines gives the lines of the standard input without their ends, up to size together: those that are there, as who
// writes them, a person or a program, may wait for an answer. More are read meanwhile. It ends when ctx does, even
// while it waits for input.
func lines(ctx context.Context, s streams, size int) iter.Seq2[[]string, error] {
	if f, ok := s.in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		fmt.Fprintln(s.err, "thaw: reading lines from the terminal; Ctrl-D ends")
	}
	return func(yield func([]string, error) bool) {
		done := make(chan struct{})
		defer close(done)
		ready := make(chan read, 16)
		go readLines(s.in, size, ready, done)
		var some read
		for {
			if len(some.lines) == 0 && some.err == nil {
				select {
				case <-ctx.Done():
					yield(nil, ctx.Err())
					return
				case some = <-ready:
				}
			}
			some.join(ready, size)
			now := some.lines[:min(len(some.lines), size)]
			if some.lines = some.lines[len(now):]; len(now) > 0 && !yield(now, nil) {
				return
			}
			if some.err != nil && len(some.lines) == 0 {
				if some.err != io.EOF {
					yield(nil, some.err)
				}
				return
			}
		}
	}
}

// read is lines that were read, and the error behind them.
type read struct {
	lines []string
	err   error
}

// join adds what is ready, until there are size lines.
func (r *read) join(ready <-chan read, size int) {
	for len(r.lines) < size && r.err == nil {
		select {
		case more := <-ready:
			r.lines, r.err = append(r.lines, more.lines...), more.err
		default:
			return
		}
	}
}

// readLines sends lines to ready, up to size together, until done is closed or there are none any more.
func readLines(from io.Reader, size int, ready chan<- read, done <-chan struct{}) {
	in := bufio.NewReaderSize(from, 1<<16)
	waits := true // for whoever writes
	if f, ok := from.(*os.File); ok {
		info, err := f.Stat()
		waits = err != nil || !info.Mode().IsRegular()
	}
	for {
		var r read
		for len(r.lines) < size && r.err == nil {
			var line string
			if line, r.err = in.ReadString('\n'); line != "" {
				r.lines = append(r.lines, strings.TrimRight(line, "\r\n"))
			}
			if waits && in.Buffered() == 0 && len(r.lines) > 0 {
				break
			}
		}
		select {
		case ready <- r:
		case <-done:
			return
		}
		if r.err != nil {
			return
		}
	}
}
