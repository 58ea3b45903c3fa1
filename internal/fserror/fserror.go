// Package fserror words the errors of the file system.
package fserror

import (
	"errors"
	"io/fs"
)

// WithoutPath takes the operation and the path out of an error that names them, for messages that name the path
// themselves.
func WithoutPath(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}
