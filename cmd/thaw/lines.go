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
// writes them, a person or a program, may wait for an answer. It ends when ctx does, even while it waits for input.
func lines(ctx context.Context, s streams, size int) iter.Seq2[[]string, error] {
	type read struct {
		lines []string
		err   error
	}
	if f, ok := s.in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		fmt.Fprintln(s.err, "thaw: reading lines from the terminal; Ctrl-D ends")
	}
	return func(yield func([]string, error) bool) {
		done := make(chan struct{})
		defer close(done)
		ready := make(chan read, 1)
		go func() {
			defer close(ready)
			in := bufio.NewReaderSize(s.in, 1<<16)
			for {
				var r read
				for len(r.lines) < size && r.err == nil {
					var line string
					if line, r.err = in.ReadString('\n'); line != "" {
						r.lines = append(r.lines, strings.TrimRight(line, "\r\n"))
					}
					if in.Buffered() == 0 && len(r.lines) > 0 {
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
		}()
		for {
			select {
			case <-ctx.Done():
				yield(nil, ctx.Err())
				return
			case r := <-ready:
				if len(r.lines) > 0 && !yield(r.lines, nil) {
					return
				}
				if r.err != nil && r.err != io.EOF {
					yield(nil, r.err)
				}
				if r.err != nil {
					return
				}
			}
		}
	}
}
