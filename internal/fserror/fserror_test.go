package fserror_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/thaw-ml/thaw/internal/fserror"
)

func TestWithoutPath(t *testing.T) {
	_, err := os.Open("/nonexistent")
	for _, err := range []error{err, fmt.Errorf("reading: %w", err)} {
		assert.EqualError(t, fserror.WithoutPath(err), "no such file or directory")
		assert.ErrorIs(t, fserror.WithoutPath(err), fs.ErrNotExist)
	}
	other := errors.New("other")
	assert.Equal(t, other, fserror.WithoutPath(other))
	assert.NoError(t, fserror.WithoutPath(nil))
}
