// Package atomicfile replaces files whole: a reader, and a machine that loses power, sees the old
// content or the new, never a part of either.
package atomicfile

import (
	"bufio"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// TempPrefix and TempSuffix frame the name of every temporary file, which lies in the folder of the
// file it will become. Only a process that was killed leaves one behind; it can be deleted once
// that process has gone.
const (
	TempPrefix = ".thaw-"
	TempSuffix = ".tmp"
)

// bufferSize is the size of the write buffer. Larger writes go past it, so that whole tensors are
// handed to the kernel without a copy.
const bufferSize = 64 << 10

// Write calls write with a buffered writer to a temporary file beside path, flushes that file to
// disk, renames it to path and flushes the folder. When anything fails, or write panics, the
// temporary file is removed and what was at path before is untouched; the one exception is a failed
// flush of the folder, after which path holds the new content but may lose it with the power.
//
// The file's mode is 0644 less the umask, whatever it was before. A symbolic link at path is
// replaced, not followed. The folder must exist. Errors name path.
func Write(path string, write func(io.Writer) error) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("write %s: %w", path, bare(err))
		}
	}()
	f, err := create(filepath.Dir(path))
	if err != nil {
		return err
	}
	renamed := false
	defer func() {
		if !renamed {
			f.Close() // a second Close after the one below only returns an error
			os.Remove(f.Name())
		}
	}()

	w := bufio.NewWriterSize(f, bufferSize)
	if err := write(w); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil { // network file systems report a full disk only here
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	renamed = true
	return syncDir(filepath.Dir(path))
}

// WriteJSON writes a value as indented JSON, with a line feed at the end.
func WriteJSON(path string, value any) error {
	text, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return err
	}
	return Write(path, func(w io.Writer) error {
		_, err := w.Write(append(text, '\n'))
		return err
	})
}

// create makes a new temporary file in dir. os.CreateTemp would do but for its mode of 0600.
func create(dir string) (*os.File, error) {
	for {
		name := filepath.Join(dir, TempPrefix+rand.Text()+TempSuffix)
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if !errors.Is(err, fs.ErrExist) {
			return f, err
		}
	}
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	err = d.Sync()
	// Some network and user-space file systems cannot flush a folder and say so with these two.
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		return nil
	}
	return err
}

// bare drops the operation and the temporary name that package os puts into its errors: the user
// knows neither.
func bare(err error) error {
	switch e := err.(type) {
	case *fs.PathError:
		return e.Err
	case *os.LinkError:
		return e.Err
	}
	return err
}
