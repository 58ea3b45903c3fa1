package atomicfile

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// ErrExists says that what was to be made is there already.
var ErrExists = errors.New("it exists; nothing is overwritten")

// Folder makes a folder whole: fill writes to a temporary folder beside it, which is then renamed. When fill fails or
// panics nothing stays. Errors name the paths that the files would have had. What is at path already is [ErrExists] and
// is left alone; the parent must exist. Files that fill leaves are to be flushed, as Write does.
func Folder(path string, fill func(temporary string) error) error {
	path = filepath.Clean(path) // "out/" is in the folder of "out"
	if _, err := os.Lstat(path); err == nil {
		return ErrExists
	} else if !errors.Is(err, fs.ErrNotExist) {
		return bare(err)
	}
	parent := filepath.Dir(path)
	temporary := filepath.Join(parent, TempPrefix+rand.Text()+TempSuffix)
	if err := os.Mkdir(temporary, 0o777); err != nil {
		return bare(err) // the path is one that nobody knows
	}
	defer os.RemoveAll(temporary) // nothing is there once it is renamed
	if err := fill(temporary); err != nil {
		return &folderError{err, temporary, path}
	}
	if err := syncDir(temporary); err != nil {
		return &folderError{err, temporary, path}
	}
	if err := os.Rename(temporary, path); err != nil {
		return bare(err)
	}
	return syncDir(parent)
}

// folderError is an error about files in a temporary folder, told as of those in the folder that it would have become.
type folderError struct {
	err             error
	temporary, path string
}

func (e *folderError) Error() string {
	return strings.ReplaceAll(e.err.Error(), e.temporary, e.path)
}

func (e *folderError) Unwrap() error { return e.err }
