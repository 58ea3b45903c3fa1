package vision

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestDatasetOptionsWrong(t *testing.T) {
	for _, c := range []struct {
		o    DatasetOptions
		want string
	}{
		{DatasetOptions{Augment: "flipp"}, `vision: DatasetOptions: Augment must be one of crop, randaugment, trivialaugment, flip, none, found "flipp"`},
		{DatasetOptions{Erase: 7}, "vision: DatasetOptions: Erase must be a probability from 0 to 1, found 7"},
		{DatasetOptions{Scale: [2]float64{0.5, 0.2}}, "Scale must be two shares of the area"},
		{DatasetOptions{MixUp: -1}, "MixUp and CutMix must be 0 (off) or above"},
		{DatasetOptions{Workers: -2}, "Workers must be 0 (one for each core) or above, found -2"},
	} {
		assert.ErrorContains(t, c.o.resolve(), c.want)
	}
	assert.NoError(t, (&DatasetOptions{}).resolve())
}
