package cachedir_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/internal/cachedir"
)

func TestRoot(t *testing.T) {
	t.Setenv("THAW_CACHE", "/somewhere")
	t.Setenv("XDG_CACHE_HOME", "/caches")
	root, err := cachedir.Root()
	require.NoError(t, err)
	assert.Equal(t, "/somewhere", root)
	t.Setenv("THAW_CACHE", "")
	root, err = cachedir.Root()
	require.NoError(t, err)
	assert.Equal(t, filepath.FromSlash("/caches/thaw"), root)
	t.Setenv("XDG_CACHE_HOME", "")
	t.Setenv("HOME", "")
	_, err = cachedir.Root()
	assert.ErrorContains(t, err, "no cache folder")
}
