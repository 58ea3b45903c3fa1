package annotation

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestWriteResults(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.json")
	results := []Result{
		{7, 90, 10.5, 20, 40.75, 60, 0.30000001192092896},
		{12345678901, 2, -1e-17, 0, 1e21, 1. / 3, 1},
	}
	require.NoError(t, WriteResults(path, slices.Values(results)))
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, `[
{"image_id": 7, "category_id": 90, "bbox": [10.5, 20, 30.25, 40], "score": 0.30000001192092896},
{"image_id": 12345678901, "category_id": 2, "bbox": [-1e-17, 0, 1e+21, 0.3333333333333333], "score": 1}
]
`, string(text))
	var read []struct {
		BBox  [4]float64
		Score float64
	}
	require.NoError(t, json.Unmarshal(text, &read))
	assert.Equal(t, [4]float64{-1e-17, 0, 1e21, 1. / 3}, read[1].BBox)

	// What cannot be written leaves the file as it was, and nothing beside it.
	for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		err := WriteResults(path, slices.Values(append(results, Result{ImageID: 3, Score: bad})))
		require.ErrorContains(t, err, path+": detection 2, on image 3, has a number that is not finite")
		after, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, text, after)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, entries, 1)

	require.NoError(t, WriteResults(path, slices.Values[[]Result](nil)))
	text, err = os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, "[]\n", string(text))
}

// A set that is written is read again as it was, whatever format it came from.
func TestWriteCOCO(t *testing.T) {
	folder := cocoFolder(t, coco)
	s, err := Open(filepath.Join(folder, "x.json"), Options{})
	require.NoError(t, err)
	out := filepath.Join(folder, "again.json")
	require.NoError(t, s.WriteCOCO(out))
	again, err := Open(out, Options{})
	require.NoError(t, err)
	again.Source = s.Source
	assert.Equal(t, s, again)

	folder = write(t, map[string]string{"a.xml": vocFileOf("a.png", 10, 10, vocObject(`"q"`, 1, 1, 1, 10, 10)), "a.png": "10x10"})
	s, err = Open(folder, Options{})
	require.NoError(t, err)
	require.NoError(t, s.WriteCOCO(filepath.Join(folder, "again.json")))
	text, err := os.ReadFile(filepath.Join(folder, "again.json"))
	require.NoError(t, err)
	assert.Contains(t, string(text), `"area": 100, "iscrowd": 0, "ignore": 1}`)
}
