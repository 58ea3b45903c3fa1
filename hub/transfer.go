package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/thaw-ml/thaw/internal/diskspace"
)

// incomplete is what the name of a file ends in while it is downloaded.
const incomplete = ".incomplete"

// transfer brings one file here.
type transfer struct {
	client   *client
	what     string // the file's name, for people
	url      string
	final    string // where it goes
	lock     string // what is locked meanwhile
	size     int64  // -1: not known
	checksum checksum
	progress Progress
	begun    bool // progress knows of it
}

// run downloads the file, unless it is there; it is renamed to its final name once its hash is right and it is flushed
// to disk. When it fails or ctx ends, FINAL.incomplete is left, to be resumed; after a wrong hash, nothing.
func (t *transfer) run(ctx context.Context) error {
	if exists(t.final) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(t.final), 0o777); err != nil {
		return fmt.Errorf("%s: make a folder for it: %w", t.what, err)
	}
	pace := t.client.pace
	unlock, err := lock(ctx, t.lock, pace.poll, func() {
		t.progress.Note(fmt.Sprintf("another process is downloading %s: waiting for it", t.what))
	})
	if err != nil {
		return fmt.Errorf("%s: %w", t.what, err)
	}
	defer unlock()
	if exists(t.final) {
		return nil // the process that was waited for brought it
	}
	part, err := os.OpenFile(t.final+incomplete, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return fmt.Errorf("%s: %w", t.what, err)
	}
	defer part.Close()
	if err := t.fill(ctx, part); err != nil {
		if _, wrong := errors.AsType[*HashError](err); wrong {
			os.Remove(part.Name())
		} else if info, statErr := part.Stat(); statErr == nil && info.Size() == 0 {
			os.Remove(part.Name())
		}
		return t.explain(err)
	}
	if err := part.Close(); err != nil { // network file systems report a full disk only here
		return t.explain(err)
	}
	if err := os.Rename(part.Name(), t.final); err != nil {
		return fmt.Errorf("%s: %w", t.what, err)
	}
	return syncFolder(filepath.Dir(t.final))
}

// fill makes part the whole file: as often as something came, it goes on; what turns out not to be the file is thrown
// away and begun anew.
func (t *transfer) fill(ctx context.Context, part *os.File) error {
	pace, again := t.client.pace, 0
	defer func() {
		if t.begun {
			t.progress.End()
		}
	}()
	validator := "" // the ETag of what part holds, from this process's first answer
	for failed := 0; ; {
		have, err := part.Seek(0, io.SeekEnd)
		if err != nil {
			return err
		}
		if t.size < 0 || have != t.size {
			err = t.try(ctx, part, have, &validator)
		}
		if err == nil {
			got, right, hashErr := "", false, error(nil)
			if hashErr = part.Sync(); hashErr == nil {
				got, right, hashErr = t.checksum.of(ctx, part)
			}
			if hashErr != nil || right {
				return hashErr
			}
			if again == pace.again {
				return &HashError{File: t.what, URL: t.url, Want: t.checksum.want, Got: got}
			}
			again++
			validator = ""
			t.progress.Note(fmt.Sprintf("%s came with a wrong hash: beginning anew", t.what))
			if err := t.drop(part); err != nil {
				return err
			}
			continue
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if _, mends := errors.AsType[fault](err); !mends {
			return err
		}
		now, seekErr := part.Seek(0, io.SeekEnd)
		if seekErr != nil {
			return seekErr
		}
		if now > have {
			failed = 0
		}
		if failed++; t.client.givesUp(failed, err) {
			return &NetworkError{What: t.what, Host: hostOf(t.url), Tries: failed, Err: err}
		}
		if err := t.client.wait(ctx, failed, err, t.progress, t.what); err != nil {
			return err
		}
	}
}

// try asks once for what is missing and appends what comes to part, which has have bytes.
func (t *transfer) try(ctx context.Context, part *os.File, have int64, validator *string) error {
	if t.size >= 0 && have > t.size {
		if err := t.drop(part); err != nil {
			return err
		}
		have = 0
	}
	header := http.Header{}
	if have > 0 {
		header.Set("Range", fmt.Sprintf("bytes=%d-", have))
		if *validator != "" {
			header.Set("If-Range", *validator)
		}
	}
	answer, err := t.client.do(ctx, http.MethodGet, t.url, header, t.what)
	if err != nil {
		return err
	}
	defer answer.Close()
	if encoding := answer.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return faultf("the server sent the file encoded as %q, which was not asked for", encoding)
	}
	if answer.StatusCode == http.StatusRequestedRangeNotSatisfiable {
		if answer.Header.Get("Content-Range") == fmt.Sprintf("bytes */%d", have) {
			return nil // all of it was here already
		}
		if err := t.drop(part); err != nil {
			return err
		}
		return faultf("the server has no bytes from %d on", have)
	}
	total := answer.ContentLength
	if answer.StatusCode == http.StatusPartialContent {
		from, all, ok := parseRange(answer.Header.Get("Content-Range"))
		if !ok || from != have || t.size >= 0 && all >= 0 && all != t.size {
			if err := t.drop(part); err != nil {
				return err
			}
			return faultf("asked for the bytes from %d on, the server sent %q", have, answer.Header.Get("Content-Range"))
		}
		total = all
	} else if have > 0 { // the file changed, or the server knows no ranges
		if err := t.drop(part); err != nil {
			return err
		}
		have = 0
	}
	if t.size >= 0 && total >= 0 && total != t.size {
		return faultf("the server sends %d bytes, expected %d", total, t.size)
	}
	if total < 0 {
		total = t.size
	}
	if etag := answer.Header.Get("ETag"); strings.HasPrefix(etag, `"`) { // weak ones do not tell bytes apart
		*validator = etag
	}
	if err := t.room(total - have); err != nil {
		return err
	}
	if !t.begun {
		t.progress.Begin(t.what, total, have)
		t.begun = true
	}
	return t.copy(part, answer, have, total)
}

// copy appends an answer's body to part, up to total bytes in all; -1 is up to the body's end.
func (t *transfer) copy(part *os.File, body io.Reader, have, total int64) error {
	buffer := make([]byte, 256<<10)
	for {
		n, readErr := body.Read(buffer)
		if total >= 0 && have+int64(n) > total {
			if err := t.drop(part); err != nil {
				return err
			}
			return faultf("the server sends more than the %d bytes it should", total)
		}
		if n > 0 {
			if _, err := part.WriteAt(buffer[:n], have); err != nil {
				return err
			}
			have += int64(n)
			t.progress.Advance(int64(n))
		}
		switch {
		case readErr == io.EOF && (total < 0 || have == total):
			return nil
		case readErr == io.EOF:
			return faultf("the connection ended after %d of %d bytes", have, total)
		case readErr != nil:
			return fault{readErr}
		}
	}
}

// drop throws away what is in part.
func (t *transfer) drop(part *os.File) error {
	had, err := part.Seek(0, io.SeekEnd)
	if err != nil || had == 0 {
		return err
	}
	if t.begun {
		t.progress.Advance(-had)
	}
	return part.Truncate(0)
}

// room fails when the disk has no room for n more bytes.
func (t *transfer) room(n int64) error {
	free, ok := t.client.free(filepath.Dir(t.final))
	if !ok || n <= free {
		return nil
	}
	return fmt.Errorf("%w: %s more are needed, %s are free", syscall.ENOSPC, size(n), size(free))
}

// explain says which file an error is about, and what a full disk leaves.
func (t *transfer) explain(err error) error {
	if path, ok := errors.AsType[*fs.PathError](err); ok && errors.Is(err, syscall.ENOSPC) {
		err = path.Err
	}
	if !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT) {
		if strings.HasPrefix(err.Error(), t.what+":") {
			return err
		}
		return fmt.Errorf("%s: %w", t.what, err)
	}
	left := ""
	if exists(t.final + incomplete) {
		left = fmt.Sprintf("; what came is kept in %s, and the next download goes on from there", t.final+incomplete)
	}
	return fmt.Errorf("%s: %s: %w%s", t.what, filepath.Dir(t.final), err, left)
}

// freeBytes is how much an ordinary user may still write to a folder's file system.
func freeBytes(folder string) (int64, bool) {
	n, err := diskspace.Free(folder)
	return n, err == nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) { // network file systems that cannot
		return nil
	}
	return err
}

// parseRange reads "bytes FROM-TO/TOTAL"; TOTAL may be *, which is -1.
func parseRange(s string) (from, total int64, ok bool) {
	s, ok = strings.CutPrefix(s, "bytes ")
	span, all, ok2 := strings.Cut(s, "/")
	first, last, ok3 := strings.Cut(span, "-")
	if !ok || !ok2 || !ok3 {
		return 0, 0, false
	}
	from, err := strconv.ParseInt(first, 10, 64)
	to, err2 := strconv.ParseInt(last, 10, 64)
	total = -1
	var err3 error
	if all != "*" {
		total, err3 = strconv.ParseInt(all, 10, 64)
	}
	if err != nil || err2 != nil || err3 != nil || from < 0 || to < from || all != "*" && to != total-1 {
		return 0, 0, false
	}
	return from, total, true
}

// size writes bytes as people do: 97.8 MB.
func size(n int64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.1f GB", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	default:
		return fmt.Sprintf("%d bytes", n)
	}
}
