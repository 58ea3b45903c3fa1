package detection

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch/data"
	"github.com/thaw-ml/thaw/vision/detection/annotation"
	"github.com/thaw-ml/thaw/vision/picture"
)

// sizes are pictures of which nothing is read.
type sizes [][2]int

func (s sizes) Len() int { return len(s) }
func (s sizes) At(i int) annotation.Picture {
	return annotation.Picture{Width: s[i][0], Height: s[i][1]}
}
func (s sizes) Read(int, picture.Options) (*picture.Image, error) {
	panic("the pixels are not asked for")
}

// TestGroupIsTorchvisions compares with bisect_right of (2 ** numpy.linspace(-1, 1, 7)), torchvision's group_by_aspect_ratio.
func TestGroupIsTorchvisions(t *testing.T) {
	s := sizes{{49, 100}, {50, 100}, {62, 100}, {63, 100}, {79, 100}, {80, 100}, {99, 100}, {100, 100}, {125, 100}, {126, 100}, {158, 100}, {159, 100}, {199, 100}, {200, 100}, {900, 100}}
	d, err := NewDataset(s, 1, DefaultInput(), DatasetOptions{})
	require.NoError(t, err)
	var got []int
	for i := range s {
		got = append(got, d.Group(i))
	}
	assert.Equal(t, []int{0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7}, got)
	d, err = NewDataset(s, 1, DefaultInput(), DatasetOptions{AspectGroups: -1})
	require.NoError(t, err)
	assert.Zero(t, d.Group(14))
	_, err = NewDataset(s, 1, DefaultInput(), DatasetOptions{AspectGroups: 101})
	require.ErrorContains(t, err, "AspectGroups")
}

// padded is the share of batches' pixels that is padding.
func padded(t *testing.T, d *Dataset, asked []data.Request) float64 {
	t.Helper()
	all, pictures := 0, 0
	for _, r := range asked {
		r.FirstStage = 1 // without pixels
		b, err := d.Batch(r)
		require.NoError(t, err)
		all += b.Size() * b.Side.Height * b.Side.Width
		for _, s := range b.Sizes {
			pictures += s.Height * s.Width
		}
		b.Close()
	}
	return 1 - float64(pictures)/float64(all)
}

func TestBatchesHaveLikeAspect(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var s sizes
	for range 400 { // photographs upright and across, in the proportions of cameras
		size := [][2]int{{640, 480}, {640, 427}, {500, 375}, {640, 360}}[rng.IntN(4)]
		if rng.IntN(3) == 0 {
			size[0], size[1] = size[1], size[0]
		}
		s = append(s, size)
	}
	shares := map[int]float64{}
	for _, groups := range []int{-1, 3} {
		d, err := NewDataset(s, 1, DefaultInput(), DatasetOptions{AspectGroups: groups})
		require.NoError(t, err)
		sampler := data.NewSampler(d, data.SamplerOptions{Size: 4})
		asked := sampler.Training(1, 1)
		assert.Len(t, asked, 100)
		var seen []int
		for _, r := range asked {
			seen = append(seen, r.Indices...)
		}
		slices.Sort(seen)
		assert.Len(t, slices.Compact(seen), 400, "every picture once")
		assert.Equal(t, asked, sampler.Training(1, 1), "the seed and the epoch decide")
		assert.NotEqual(t, asked, sampler.Training(1, 2))
		shares[groups] = padded(t, d, asked)
	}
	t.Logf("padding: %.1f %% of all pixels without groups, %.1f %% with them", 100*shares[-1], 100*shares[3])
	assert.Greater(t, shares[-1], 0.25)
	assert.Less(t, shares[3], 0.1)
}
