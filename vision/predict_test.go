package vision_test

import (
	"bytes"
	"context"
	"image"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/finetune/train/objective"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/vision"
)

// without puts FOLDER in a folder's place.
func without(err error, folder string) string {
	return strings.ReplaceAll(err.Error(), folder, "FOLDER")
}

// encoded is a drawing as a PNG.
func encoded(t testing.TB, m image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, m))
	return b.Bytes()
}

func TestPredict(t *testing.T) {
	a := openAlbum(t, drawings(t, 3, 3))
	c := scratch(t, "resnet18", 7)
	nn.SetTraining(c, false)
	var paths []string
	var images []vision.Image
	for i := range a.Len() {
		paths = append(paths, a.Name(i))
		images = append(images, vision.File(a.Name(i)))
	}
	predict := func(images []vision.Image, size int) ([]vision.Prediction, error) {
		return c.Predict(t.Context(), images, finetune.PredictOptions{BatchSize: size})
	}
	one, err := predict(images, 1)
	require.NoError(t, err)
	require.Len(t, one, 9)
	for i, p := range one {
		assert.Equal(t, paths[i], p.Input)
		require.Len(t, p.Logits, 7)
		assert.Equal(t, slices.Index(p.Logits, slices.Max(p.Logits)), p.Class)
		assert.Equal(t, c.Classes[p.Class], p.Label)
		require.Len(t, p.Top, 5)
		assert.Equal(t, objective.Guess{Label: p.Label, Class: p.Class, Score: p.Score}, p.Top[0])
		for k := 1; k < 5; k++ {
			assert.GreaterOrEqual(t, p.Top[k-1].Score, p.Top[k].Score)
		}
		assert.Len(t, p.Scores, 7)
		assert.Equal(t, p.Score, p.Scores[p.Label])
	}
	for _, size := range []int{0, 2, 9, 100} {
		many, err := predict(images, size)
		require.NoError(t, err)
		require.Len(t, many, 9)
		for i := range many {
			assert.Equal(t, paths[i], many[i].Input)
			assert.InDeltaSlice(t, one[i].Logits, many[i].Logits, 1e-4)
		}
	}
	files, err := c.PredictFiles(t.Context(), paths...)
	require.NoError(t, err)
	require.Len(t, files, 9)
	for i := range files {
		assert.Equal(t, paths[i], files[i].Input)
		assert.InDeltaSlice(t, one[i].Logits, files[i].Logits, 1e-4)
	}
	none, err := predict(nil, 4)
	require.NoError(t, err)
	assert.Empty(t, none)
	damage(t, a, 4)
	for _, size := range []int{1, 3, 4, 5, 100} { // what stands before the damaged one is known
		before, err := predict(images, size)
		require.ErrorContains(t, err, "reading picture "+paths[4]+": ")
		assert.Equal(t, 1, strings.Count(err.Error(), paths[4]), "the file is named once: %v", err)
		require.Len(t, before, 4, "batches of %d", size)
		for i := range before {
			assert.Equal(t, paths[i], before[i].Input)
			assert.InDeltaSlice(t, one[i].Logits, before[i].Logits, 1e-4)
		}
	}
	_, err = c.PredictFiles(t.Context(), paths[0], "none.png")
	assert.ErrorIs(t, err, os.ErrNotExist)
	assert.EqualError(t, err, "reading picture none.png: no such file or directory")
	ended, end := context.WithCancel(t.Context())
	end()
	_, err = c.PredictFiles(ended, paths[0])
	assert.ErrorIs(t, err, context.Canceled)
	torch.Scoped(func() { torch.NoGrad(func() { c.Net.FC.Bias.MulScalar_(math.Inf(1)) }) })
	c.Source = "weights.pth"
	_, err = c.PredictFiles(t.Context(), paths[2:4]...)
	assert.EqualError(t, err, paths[2]+": the network gives scores that are no finite numbers: the weights, weights.pth, are damaged")
}

// A picture's prediction does not depend on where it comes from.
func TestPredictFromMemory(t *testing.T) {
	c := scratch(t, "resnet18", 4)
	nn.SetTraining(c, false)
	m := drawing(1, 2, 40, 30)
	data := encoded(t, m)
	path := filepath.Join(t.TempDir(), "a.png")
	require.NoError(t, os.WriteFile(path, data, 0o644))
	got, err := c.Predict(t.Context(), []vision.Image{
		vision.File(path), vision.Encoded("", data), vision.Pixels("drawing", m), vision.Encoded("upload", data),
	}, finetune.PredictOptions{BatchSize: 2})
	require.NoError(t, err)
	var names []string
	for _, p := range got {
		names = append(names, p.Input)
		assert.InDeltaSlice(t, got[0].Logits, p.Logits, 1e-5)
	}
	assert.Equal(t, []string{path, "", "drawing", "upload"}, names)
	for i := range 2 { // at the same place in a batch of the same size
		assert.Equal(t, got[i].Logits, got[i+2].Logits)
	}

	for want, m := range map[string]vision.Image{
		"reading picture upload: it is empty: want JPEG":                              vision.Encoded("upload", nil),
		"reading picture 1: PNG":                                                      vision.Encoded("", data[:30]),
		"reading picture small: an image of 0 x 0 pixels":                             vision.Pixels("small", image.NewRGBA(image.Rectangle{})),
		"reading picture gone: the image is nil":                                      vision.Pixels("gone", nil),
		"reading picture 1: there is no image: make one with File, Encoded or Pixels": {},
	} {
		got, err := c.Predict(t.Context(), []vision.Image{vision.File(path), m}, finetune.PredictOptions{BatchSize: 1})
		assert.ErrorContains(t, err, want)
		assert.Len(t, got, 1)
	}
}

// Many goroutines may predict at once, from the first call on; go test -race says so.
func TestPredictFromManyGoroutines(t *testing.T) {
	c := scratch(t, "resnet18", 3)
	nn.SetTraining(c, false)
	var images []vision.Image
	for class := range 3 {
		images = append(images, vision.Encoded("upload", encoded(t, drawing(class, 0, 33, 35))), vision.Pixels("frame", drawing(class, 1, 40, 31)))
	}
	var all sync.WaitGroup
	results := make([][]vision.Prediction, 24)
	for i := range results {
		all.Go(func() {
			var err error
			if i%4 == 3 {
				var s vision.Sample
				s, err = c.Encode(images[i%6])
				assert.NoError(t, err)
				results[i], err = c.PredictEncoded(t.Context(), []vision.Sample{s})
			} else {
				results[i], err = c.Predict(t.Context(), images[i%6:i%6+1], finetune.PredictOptions{})
			}
			assert.NoError(t, err)
			if i == 5 {
				assert.NoError(t, c.Use("cpu", "float32"))
			}
		})
	}
	all.Wait()
	for i, r := range results {
		require.Len(t, r, 1)
		assert.Equal(t, results[i%6][0].Logits, r[0].Logits)
	}
	assert.NotEqual(t, results[0][0].Logits, results[1][0].Logits)
}

// Encode and PredictEncoded, which package serve calls, give what Predict gives of the same batch.
func TestPredictEncoded(t *testing.T) {
	c := scratch(t, "resnet18", 3)
	nn.SetTraining(c, false)
	var images []vision.Image
	var samples []vision.Sample
	for i := range 5 {
		m := vision.Pixels("frame", drawing(i%3, i, 30+i, 45-i))
		s, err := c.Encode(m)
		require.NoError(t, err)
		assert.Equal(t, 1, c.Cost(s))
		images, samples = append(images, m), append(samples, s)
	}
	want, err := c.Predict(t.Context(), images, finetune.PredictOptions{BatchSize: 5})
	require.NoError(t, err)
	got, err := c.PredictEncoded(t.Context(), samples)
	require.NoError(t, err)
	require.Len(t, got, 5)
	for i := range got {
		want[i].Input = "" // a sample has no name
		assert.Equal(t, want[i], got[i])
	}
	_, err = c.Encode(vision.Encoded("upload", []byte("no picture")))
	assert.ErrorContains(t, err, "reading picture upload: it is no picture that can be read")
	torch.Scoped(func() { torch.NoGrad(func() { c.Net.FC.Bias.MulScalar_(math.Inf(1)) }) })
	c.Source = "weights.pth"
	got, err = c.PredictEncoded(t.Context(), samples)
	assert.EqualError(t, err, "the network gives scores that are no finite numbers: the weights, weights.pth, are damaged")
	assert.Empty(t, got)
}
