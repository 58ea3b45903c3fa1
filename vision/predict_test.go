package vision_test

import (
	"bytes"
	"image"
	"image/png"
	"os"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/vision"
)

// encoded is a drawing as a PNG.
func encoded(t testing.TB, m image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, m))
	return b.Bytes()
}

// A picture's prediction does not depend on where it comes from.
func TestPredictSources(t *testing.T) {
	c := scratch(t, "resnet18", 4)
	nn.SetTraining(c, false)
	m := drawing(1, 2, 40, 30)
	data := encoded(t, m)
	path := t.TempDir() + "/a.png"
	require.NoError(t, os.WriteFile(path, data, 0o644))
	got, err := c.PredictSources(t.Context(), []vision.Source{
		vision.File(path), vision.Encoded(data), vision.FromImage("drawing", m), vision.Encoded(data).Named("upload"), vision.File(path).Named("b"),
	}, 2)
	require.NoError(t, err)
	var names []string
	for _, p := range got {
		names = append(names, p.Input)
		assert.InDeltaSlice(t, got[0].Logits, p.Logits, 1e-5)
	}
	assert.Equal(t, []string{path, "encoded picture", "drawing", "upload", path}, names)

	for want, s := range map[string]vision.Source{
		"reading picture upload: it is empty: want JPEG":             vision.Encoded(nil).Named("upload"),
		"reading picture encoded picture: PNG":                       vision.Encoded(data[:30]),
		"reading picture small: an image of 0 x 0 pixels":            vision.FromImage("small", image.NewRGBA(image.Rectangle{})),
		"a source that is no picture: make it with File, Encoded or": {},
	} {
		got, err := c.PredictSources(t.Context(), []vision.Source{vision.File(path), s}, 1)
		assert.ErrorContains(t, err, want)
		assert.Len(t, got, 1)
	}
}

// Many goroutines may predict at once, from the first call on; go test -race says so.
func TestPredictFromManyGoroutines(t *testing.T) {
	c := scratch(t, "resnet18", 3)
	nn.SetTraining(c, false)
	var data [][]byte
	for class := range 3 {
		data = append(data, encoded(t, drawing(class, 0, 33, 35)))
	}
	var all sync.WaitGroup
	results := make([][]vision.Prediction, 12)
	for i := range results {
		all.Go(func() {
			var err error
			results[i], err = c.PredictSources(t.Context(), []vision.Source{vision.Encoded(data[i%3])}, 1)
			assert.NoError(t, err)
			if i == 5 {
				assert.NoError(t, c.Use("cpu", "float32"))
			}
		})
	}
	all.Wait()
	for i, r := range results {
		require.Len(t, r, 1)
		assert.Equal(t, results[i%3][0].Logits, r[0].Logits)
	}
}
