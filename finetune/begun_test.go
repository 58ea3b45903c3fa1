package finetune

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/internal/atomicfile"
)

// A process may be killed after each thing that it makes of a run folder; the next one goes on there.
func TestBegun(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run")
	f := NewFolder(path)
	assert.False(t, f.Begun(), "there is no folder")
	require.NoError(t, os.Mkdir(path, 0o755))
	assert.True(t, f.Begun(), "the folder alone")
	require.NoError(t, os.Mkdir(f.Weights(), 0o755))
	assert.True(t, f.Begun(), "with the folder of weights")
	require.NoError(t, os.WriteFile(filepath.Join(path, atomicfile.TempPrefix+"x"+atomicfile.TempSuffix), nil, 0o644))
	assert.True(t, f.Begun(), "with a file that was being written")

	other := filepath.Join(path, "notes.txt")
	require.NoError(t, os.WriteFile(other, nil, 0o644))
	assert.False(t, f.Begun(), "somebody's folder")
	require.NoError(t, os.WriteFile(filepath.Join(path, SpecFile), nil, 0o644))
	assert.True(t, f.Begun(), "the spec tells")
	require.NoError(t, os.WriteFile(path+"-file", nil, 0o644))
	assert.False(t, NewFolder(path+"-file").Begun(), "a file")
}
