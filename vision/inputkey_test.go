package vision_test

import (
	"image"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch/data"
	"github.com/thaw-ml/thaw/vision"
)

// What a network reads of pictures is in the key, and what it does not read is not.
func TestInputKey(t *testing.T) {
	a := openAlbum(t, drawings(t, 2, 4))
	key := newSet(t, a, nil).InputKey(false)
	require.NotEmpty(t, key)
	assert.Equal(t, key, newSet(t, openAlbum(t, a.Source), func(o *vision.DatasetOptions) { o.Augment, o.Seed, o.Workers = "none", 9, 3 }).InputKey(false))
	augmented := newSet(t, a, nil).InputKey(true)
	for name, change := range map[string]func(*vision.DatasetOptions){
		"seed":         func(o *vision.DatasetOptions) { o.Seed = 6 },
		"augmentation": func(o *vision.DatasetOptions) { o.Augment = "flip" },
		"scale":        func(o *vision.DatasetOptions) { o.Scale = [2]float64{0.5, 1} },
	} {
		assert.Equal(t, key, newSet(t, a, change).InputKey(false), name)
		assert.NotEqual(t, augmented, newSet(t, a, change).InputKey(true), name)
	}
	for _, in := range []vision.Input{
		{Resize: 37, Crop: 32, Mean: tiny.Mean, Std: tiny.Std}, {Resize: 36, Crop: 31, Mean: tiny.Mean, Std: tiny.Std},
		{Resize: 36, Crop: 32, Mean: [3]float64{0.5, 0.5, 0.5}, Std: tiny.Std}, {Resize: 36, Crop: 32, Mean: tiny.Mean, Std: tiny.Std, Interpolation: "bicubic"},
	} {
		d, err := vision.NewDataset(a, in, vision.DatasetOptions{})
		require.NoError(t, err)
		assert.NotEqual(t, key, d.InputKey(false), in)
	}
	assert.NotEqual(t, key, newSet(t, a.Part(func(i int) bool { return i != 3 }), nil).InputKey(false))

	// A file of the same name, size and time with other pixels, as after an edit in place.
	name := a.Name(1)
	info, err := os.Stat(name)
	require.NoError(t, err)
	content, err := os.ReadFile(name)
	require.NoError(t, err)
	content[len(content)/2] ^= 1
	time.Sleep(20 * time.Millisecond) // longer than the file system's clock ticks
	require.NoError(t, os.WriteFile(name, content, 0o644))
	require.NoError(t, os.Chtimes(name, info.ModTime(), info.ModTime()))
	assert.NotEqual(t, key, newSet(t, a, nil).InputKey(false))
	require.NoError(t, os.Remove(name))
	assert.Empty(t, newSet(t, a, nil).InputKey(false))
}

// Pictures in memory have no key, files among items have.
func TestInputKeyOfItems(t *testing.T) {
	a := openAlbum(t, drawings(t, 2, 2))
	c, err := vision.NewClassifier("resnet18", 2, 1)
	require.NoError(t, err)
	defer c.Close()
	key := func(images ...vision.Image) string {
		var items []vision.Item
		for _, m := range images {
			items = append(items, vision.Item{Image: m})
		}
		d, err := c.NewDataset(data.Slice(items, func(i vision.Item) (vision.Item, error) { return i, nil }), vision.DatasetOptions{})
		require.NoError(t, err)
		return d.InputKey(false)
	}
	assert.NotEmpty(t, key(vision.File(a.Name(0)), vision.File(a.Name(1))))
	assert.Empty(t, key(vision.File(a.Name(0)), vision.Pixels("x", image.NewRGBA(image.Rect(0, 0, 9, 9)))))
}

func TestViews(t *testing.T) {
	a := openAlbum(t, drawings(t, 2, 2))
	assert.True(t, newSet(t, a, nil).Views())
	assert.False(t, newSet(t, a, func(o *vision.DatasetOptions) { o.MixUp = 0.2 }).Views())
	assert.False(t, newSet(t, a, func(o *vision.DatasetOptions) { o.CutMix = 1 }).Views())
}
