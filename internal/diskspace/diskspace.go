// Package diskspace tells how much a disk still takes.
package diskspace

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"syscall"

	"github.com/thaw-ml/thaw/internal/fserror"
)

// Free is how many bytes an ordinary user may still write to the file system of a folder, which need not exist yet.
func Free(folder string) (int64, error) {
	for {
		var s syscall.Statfs_t
		err := syscall.Statfs(folder, &s)
		if err == nil {
			return int64(s.Bavail) * s.Bsize, nil
		}
		if parent := filepath.Dir(folder); errors.Is(err, fs.ErrNotExist) && parent != folder {
			folder = parent
			continue
		}
		return 0, fmt.Errorf("how much is free on the disk of %s: %w", folder, fserror.WithoutPath(err))
	}
}
