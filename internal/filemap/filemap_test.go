package filemap_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/internal/filemap"
)

func TestOpen(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "file")
	require.NoError(t, os.WriteFile(path, []byte("abc"), 0o644))
	data, err := filemap.Open(path)
	require.NoError(t, err)
	assert.Equal(t, "abc", string(data))
	require.NoError(t, os.Remove(path))
	assert.Equal(t, "abc", string(data), "the map keeps the file")
	require.NoError(t, filemap.Close(path, data))

	require.NoError(t, os.WriteFile(path, nil, 0o644))
	data, err = filemap.Open(path)
	require.NoError(t, err)
	assert.Empty(t, data)
	require.NoError(t, filemap.Close(path, data))
}

func TestOpenWhatIsNoFile(t *testing.T) {
	folder := t.TempDir()
	_, err := filemap.Open(folder)
	assert.EqualError(t, err, "open "+folder+": not a regular file")
	pipe := filepath.Join(folder, "pipe")
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	_, err = filemap.Open(pipe)
	assert.EqualError(t, err, "open "+pipe+": not a regular file")
	_, err = filemap.Open(filepath.Join(folder, "absent"))
	assert.ErrorIs(t, err, os.ErrNotExist)
}
