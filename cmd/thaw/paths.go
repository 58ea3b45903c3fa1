package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/thaw-ml/thaw/internal/atomicfile"
	"github.com/thaw-ml/thaw/internal/fserror"
)

// unreadable words an error about a path, which is of a kind: "file", "folder".
func unreadable(kind, path string, err error) string {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Sprintf("there is no %s %s", kind, path)
	}
	return fmt.Sprintf("%s: %v", path, fserror.WithoutPath(err))
}

// checkWritable says why no file can be written at path, which may hold one already.
func checkWritable(path string) error {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return fmt.Errorf("%s is a folder; expected a file", path)
	}
	folder := filepath.Dir(path)
	if info, err := os.Stat(folder); err != nil || !info.IsDir() {
		return fmt.Errorf("there is no folder %s", folder)
	}
	f, err := os.CreateTemp(folder, atomicfile.TempPrefix+"*"+atomicfile.TempSuffix)
	if err != nil {
		return fmt.Errorf("nothing can be written to the folder %s: %w", folder, fserror.WithoutPath(err))
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}
