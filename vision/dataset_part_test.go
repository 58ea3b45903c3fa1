package vision_test

import (
	"bytes"
	"fmt"
	"image"
	"image/jpeg"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch/data"
	"github.com/thaw-ml/thaw/vision"
	"github.com/thaw-ml/thaw/vision/picture"
)

// photographs are JPEGs in memory, of 4:2:0 and of odd sizes, larger than twice the input only in part.
func photographs(t *testing.T, n int) [][]byte {
	t.Helper()
	var all [][]byte
	for i := range n {
		var b bytes.Buffer
		require.NoError(t, jpeg.Encode(&b, drawing(i%3, i, 61+19*i, 57+11*i), &jpeg.Options{Quality: 90}))
		all = append(all, b.Bytes())
	}
	return all
}

// A training batch of JPEGs, of which only what the transforms read is decoded, has the pixels that come of whole pictures:
// where none is decoded at a part of its size.
func TestTrainingBatchOfPartsIsThatOfTheWhole(t *testing.T) {
	c := scratch(t, "resnet18", 3)
	c.Input.Crop = 64 // and so every picture is decoded at its full size
	files := photographs(t, 6)
	source := func(image func(i int) vision.Image) data.Source[vision.Item] {
		return data.Slice([]int{0, 1, 2, 3, 4, 5}, func(i int) (vision.Item, error) {
			return vision.Item{Image: image(i), Class: i % 3}, nil
		})
	}
	parts := source(func(i int) vision.Image { return vision.Encoded(fmt.Sprint(i), files[i]) })
	whole := source(func(i int) vision.Image {
		m, err := picture.Decode(files[i], picture.Options{})
		require.NoError(t, err)
		rgba := image.NewNRGBA(image.Rect(0, 0, m.Width, m.Height))
		for k := range m.Width * m.Height {
			copy(rgba.Pix[4*k:], []byte{m.Pix[3*k], m.Pix[3*k+1], m.Pix[3*k+2], 255})
		}
		return vision.Pixels(fmt.Sprint(i), rgba)
	})
	for name, o := range map[string]vision.DatasetOptions{
		"crop": {}, "flip": {Augment: "flip"}, "narrow": {Scale: [2]float64{0.1, 0.3}}, "trivialaugment": {Augment: "trivialaugment"},
	} {
		o.Seed = 3
		a, err := c.NewDataset(parts, o)
		require.NoError(t, err)
		b, err := c.NewDataset(whole, o)
		require.NoError(t, err)
		for epoch := range 6 {
			assert.Equal(t, batch(t, b, epoch, 3, 5, 0, 4, 1, 2), batch(t, a, epoch, 3, 5, 0, 4, 1, 2), "%s, epoch %d", name, epoch)
		}
	}
}

// A picture that is cut off is an error in every epoch, whichever part of it the epoch reads.
func TestCutOffPictureIsAnErrorInEveryEpoch(t *testing.T) {
	folder := t.TempDir()
	for i, file := range photographs(t, 3) {
		at := filepath.Join(folder, fmt.Sprint(i))
		require.NoError(t, os.Mkdir(at, 0o755))
		if i == 1 {
			file = file[:len(file)*9/10]
		}
		require.NoError(t, os.WriteFile(filepath.Join(at, "a.jpg"), file, 0o644))
	}
	d := newSet(t, openAlbum(t, folder), func(o *vision.DatasetOptions) { o.Scale = [2]float64{0.08, 0.2} })
	for epoch := 1; epoch <= 12; epoch++ {
		_, err := d.Batch(data.Request{Indices: []int{1}, Epoch: epoch})
		require.ErrorContains(t, err, "it is cut off", epoch)
	}
}
