package atomicfile

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestFolder(t *testing.T) {
	parent := t.TempDir()
	path := filepath.Join(parent, "new")
	require.NoError(t, Folder(path, func(temporary string) error {
		assert.NoDirExists(t, path)
		return Write(filepath.Join(temporary, "file"), write("content"))
	}))
	requireOnly(t, filepath.Join(path, "file"), "content")

	untouched := func(string) error { t.Error("called"); return nil }
	require.ErrorIs(t, Folder(path, untouched), ErrExists)
	require.NoError(t, os.Symlink("nowhere", filepath.Join(parent, "link")))
	require.ErrorIs(t, Folder(filepath.Join(parent, "link"), untouched), ErrExists)
	require.ErrorIs(t, Folder(filepath.Join(parent, "none", "below"), untouched), os.ErrNotExist)

	require.EqualError(t, Folder(filepath.Join(parent, "x")+"/", func(temporary string) error {
		return Write(filepath.Join(temporary, "none", "file"), write(""))
	}), "write "+filepath.Join(parent, "x", "none", "file")+": no such file or directory")
	broken := errors.New("broken")
	require.ErrorIs(t, Folder(filepath.Join(parent, "x"), func(string) error { return broken }), broken)
	require.Panics(t, func() { _ = Folder(filepath.Join(parent, "x"), func(string) error { panic("bug") }) })
	entries, err := os.ReadDir(parent)
	require.NoError(t, err)
	assert.Len(t, entries, 2, "nothing else stays")
}
