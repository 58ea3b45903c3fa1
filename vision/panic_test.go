package vision_test

import (
	"image"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/torch/data"
	"github.com/thaw-ml/thaw/vision"
)

// An image whose own methods panic is an error that names it: it is read on a goroutine that the caller could not
// recover.
func TestImageThatPanics(t *testing.T) {
	c := scratch(t, "resnet18", 2)
	var none *image.RGBA
	items := data.Items[vision.Item]{
		{Image: vision.Pixels("good", drawing(0, 0, 30, 30))}, {Image: vision.Pixels("typed nil", none), Class: 1},
	}
	set, err := c.NewDataset(items, vision.DatasetOptions{})
	require.NoError(t, err)
	_, err = finetune.Fit(t.Context(), c, set, nil, finetune.Options{})
	assert.ErrorContains(t, err, "reading picture typed nil: panic: runtime error: invalid memory address")
	_, err = c.Predict(t.Context(), []vision.Image{vision.Pixels("good", drawing(0, 0, 30, 30))}, finetune.PredictOptions{BatchSize: -1})
	assert.ErrorContains(t, err, "PredictOptions.BatchSize must be 0 (64) or above, found -1")
}
