package album

import (
	"bytes"
	"context"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/vision/picture"
)

// square is a PNG of one colour, or of a comment that makes it as long.
func square(t *testing.T, grey uint8) []byte {
	t.Helper()
	m := image.NewGray(image.Rect(0, 0, 8, 8))
	for i := range m.Pix {
		m.Pix[i] = grey
	}
	m.SetGray(0, 0, color.Gray{255})
	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, m))
	return b.Bytes()
}

func folderOf(t *testing.T, files map[string][]byte) *Album {
	t.Helper()
	folder := t.TempDir()
	for name, content := range files {
		path := filepath.Join(folder, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, content, 0o644))
	}
	a, err := Open(folder, Options{})
	require.NoError(t, err)
	return a
}

func TestCopyKeys(t *testing.T) {
	one, two := square(t, 1), square(t, 2)
	long := bytes.Repeat([]byte("x"), startBytes)
	train := folderOf(t, map[string][]byte{
		"a/1.png": one, "a/2.png": two, "a/3.png": append(bytes.Clone(long), 1), "b/1.png": one, "b/2.png": square(t, 200),
	})
	test := folderOf(t, map[string][]byte{"a/1.png": one, "b/1.png": append(bytes.Clone(long), 2), "b/2.png": append(bytes.Clone(long), 1)})
	keys, unread, err := CopyKeys(t.Context(), train, test)
	require.NoError(t, err)
	require.Empty(t, unread)
	require.Len(t, keys, 2)
	assert.NotEmpty(t, keys[0][0])
	assert.Equal(t, []string{keys[0][0], "", keys[0][2], keys[0][0], ""}, keys[0], "a/1 and b/1 are the same; a/2 is no copy")
	assert.Equal(t, []string{keys[0][0], "", keys[0][2]}, keys[1], "what begins the same is told apart by its end")
	assert.NotEqual(t, keys[0][0], keys[0][2])

	require.NoError(t, os.Remove(train.Name(0)))
	keys, unread, err = CopyKeys(t.Context(), train, test)
	require.NoError(t, err)
	require.Len(t, unread, 1, "told once, whatever the rounds")
	assert.EqualError(t, unread[0], "looking for duplicates: stat "+train.Name(0)+": no such file or directory")
	assert.Empty(t, keys[0][0], "what cannot be read has no key")
	assert.NotEmpty(t, keys[0][3])
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err = CopyKeys(ctx, train, test)
	assert.ErrorIs(t, err, context.Canceled)
}

func TestSurvey(t *testing.T) {
	a := folderOf(t, map[string][]byte{"a/1.png": square(t, 1), "a/2.png": square(t, 2)[:40], "b/1.png": square(t, 3)})
	var mutex sync.Mutex
	sizes, failed := map[int]int{}, map[int]bool{}
	require.NoError(t, a.Survey(t.Context(), 2, 4, func(i int, m *picture.Image, err error) {
		mutex.Lock()
		defer mutex.Unlock()
		if failed[i] = err != nil; err == nil {
			sizes[i] = m.FullWidth
		}
	}))
	assert.Equal(t, map[int]bool{0: false, 1: true, 2: false}, failed)
	assert.Equal(t, map[int]int{0: 8, 2: 8}, sizes)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	assert.ErrorIs(t, a.Survey(ctx, 2, 4, func(int, *picture.Image, error) {}), context.Canceled)
}
