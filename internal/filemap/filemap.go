// Package filemap maps files into memory.
package filemap

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// Open maps the whole of a regular file, read-only. An empty file, which cannot be mapped, gives no bytes. The file
// must not be truncated while it is mapped, as the process would then be killed by SIGBUS.
func Open(path string) ([]byte, error) {
	// Asked before opening, which would wait forever on a pipe.
	if info, err := os.Stat(path); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "open", Path: path, Err: errors.New("not a regular file")}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() // the map keeps the file
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return nil, err
	}
	data, err := syscall.Mmap(int(f.Fd()), 0, int(info.Size()), syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map %s (%d bytes): %w", path, info.Size(), err)
	}
	return data, nil
}

// Close unmaps what Open gave; path is for the error.
func Close(path string, data []byte) error {
	if len(data) == 0 {
		return nil
	}
	if err := syscall.Munmap(data); err != nil {
		return fmt.Errorf("unmap %s: %w", path, err)
	}
	return nil
}
