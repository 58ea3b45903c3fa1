package filestamp_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/internal/filestamp"
)

func TestOf(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	long := time.Now().Add(-time.Hour)
	write := func(text string) string {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
		require.NoError(t, os.Chtimes(path, long, long)) // as a tool does that keeps times
		time.Sleep(20 * time.Millisecond)                // longer than the file system's clock ticks
		return filestamp.Of(path)
	}
	first := write("abc")
	assert.NotEmpty(t, first)
	assert.Equal(t, first, filestamp.Of(path))
	assert.NotEqual(t, first, write("abd"), "of the same size and time")
	assert.Empty(t, filestamp.Of(filepath.Dir(path)))
	assert.Empty(t, filestamp.Of(path+"x"))
}
