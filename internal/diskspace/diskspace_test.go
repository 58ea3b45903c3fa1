package diskspace_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/internal/diskspace"
)

func TestFree(t *testing.T) {
	folder := t.TempDir()
	there, err := diskspace.Free(folder)
	require.NoError(t, err)
	assert.Positive(t, there)
	notYet, err := diskspace.Free(filepath.Join(folder, "a", "b"))
	require.NoError(t, err)
	assert.InEpsilon(t, there, notYet, 0.5, "of the folder that it would be in")
	_, err = diskspace.Free("/proc/self/status/x")
	assert.ErrorContains(t, err, "how much is free on the disk of")
}
