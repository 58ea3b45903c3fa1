package picture

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestJPEGDecoder(t *testing.T) {
	turbo := needTurbo(t)
	name, err := JPEGDecoder()
	require.NoError(t, err)
	assert.Regexp(t, `^libjpeg-turbo \d+\.\d+\S*, /\S+$`, name)
	assert.FileExists(t, turbo.path)
}

func TestFindTurboJPEG(t *testing.T) {
	turbo, err := findTurbojpeg("off", "")
	require.NoError(t, err)
	assert.Nil(t, turbo)

	// A path that the user gives is used, or is an error: never something else.
	path := needTurbo(t).path
	turbo, err = findTurbojpeg(path, "/nowhere")
	require.NoError(t, err)
	assert.Equal(t, path, turbo.path)
	_, err = findTurbojpeg("/nowhere/libturbojpeg.so.0", filepath.Dir(path))
	require.ErrorContains(t, err, "THAW_TURBOJPEG=/nowhere/libturbojpeg.so.0: ")
	assert.ErrorContains(t, err, "name a libturbojpeg.so.0, or set it to off")
	libc, err := filepath.Glob("/lib/x86_64-linux-gnu/libm.so.6")
	require.NoError(t, err)
	for _, other := range libc {
		_, err = findTurbojpeg(other, "")
		assert.ErrorContains(t, err, "it is no TurboJPEG library of version 2 or later")
	}

	// Beside libtorch, when the loader finds none by itself.
	dir := t.TempDir()
	require.NoError(t, os.Symlink(path, filepath.Join(dir, "libturbojpeg.so.0")))
	turbo, err = findTurbojpeg("", dir)
	require.NoError(t, err)
	require.NotNil(t, turbo)
	m := new(Image)
	require.NoError(t, decodeStored(m, goldenPicture(t, "odd-420.jpg").data, mustOutline(t, "odd-420.jpg"), wanted{}, turbo))
}

func mustOutline(t *testing.T, file string) outline {
	t.Helper()
	h, err := readOutline(goldenPicture(t, file).data)
	require.NoError(t, err)
	return h
}
