package rowcache_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/internal/atomicfile"
	"github.com/thaw-ml/thaw/internal/rowcache"
)

// Notes lie beside rows that other processes can open, come back as they were written or not at all, and go with the rows.
func TestNotes(t *testing.T) {
	folder := rowcache.Folder{Path: t.TempDir()}
	rows := write(t, folder, "rows")
	assert.Nil(t, rows.Note("score"))
	require.NoError(t, rows.PutNote("score", []byte("0.5")))
	require.NoError(t, rows.PutNote("empty", nil))
	assert.Equal(t, []byte("0.5"), rows.Note("score"))
	assert.Equal(t, []byte{}, rows.Note("empty"))
	assert.Nil(t, rows.Note("other"))

	path := filepath.Join(folder.Path, "rows.score.note")
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	for i := range content {
		content[i]++
		require.NoError(t, os.WriteFile(path, content, 0o600))
		assert.Nil(t, rows.Note("score"), "byte %d was changed", i)
		content[i]--
	}
	for n := range content {
		require.NoError(t, os.WriteFile(path, content[:n], 0o600))
		assert.Nil(t, rows.Note("score"), "cut off behind byte %d", n)
	}

	for age, name := range map[time.Duration]string{0: ".thaw-new.tmp", 2 * time.Hour: ".thaw-old.tmp"} {
		temporary := filepath.Join(folder.Path, strings.NewReplacer(".thaw-", atomicfile.TempPrefix, ".tmp", atomicfile.TempSuffix).Replace(name))
		require.NoError(t, os.WriteFile(temporary, nil, 0o600))
		require.NoError(t, os.Chtimes(temporary, time.Now().Add(-age), time.Now().Add(-age)))
	}
	folder.Sweep()
	writing, err := filepath.Glob(filepath.Join(folder.Path, atomicfile.TempPrefix+"*"))
	require.NoError(t, err)
	require.Len(t, writing, 1, "of a process that was killed; the new one may be in the making")
	assert.Contains(t, writing[0], "new")
	require.NoError(t, os.Remove(writing[0]))

	other := write(t, folder, "other")
	require.NoError(t, other.PutNote("score", []byte("0.7")))
	require.NoError(t, other.Close())
	require.ErrorIs(t, folder.Remove("rows"), rowcache.ErrInUse)
	require.FileExists(t, path)
	require.NoError(t, rows.Close())
	require.NoError(t, folder.Remove("rows"))
	left, err := filepath.Glob(filepath.Join(folder.Path, "*"))
	require.NoError(t, err)
	assert.Equal(t, []string{filepath.Join(folder.Path, "other.safetensors"), filepath.Join(folder.Path, "other.score.note")}, left)
}
