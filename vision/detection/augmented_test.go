package detection

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/data"
	"github.com/thaw-ml/thaw/vision/detection/annotation"
	"github.com/thaw-ml/thaw/vision/picture"
)

// scenes are black pictures with a white rectangle each, and its box; the last has none.
type scenes []scene

type scene struct {
	annotation.Picture
	image *picture.Image
}

func (s scenes) Len() int                                              { return len(s) }
func (s scenes) At(i int) annotation.Picture                           { return s[i].Picture }
func (s scenes) Read(i int, _ picture.Options) (*picture.Image, error) { return s[i].image, nil }

func drawScenes(n int) (s scenes) {
	rng := rand.New(rand.NewPCG(3, 4))
	for i := range n {
		w, h := 60+rng.IntN(200), 60+rng.IntN(200)
		m := &picture.Image{Width: w, Height: h, Pix: make([]byte, 3*w*h)}
		x1, y1 := rng.IntN(w-20), rng.IntN(h-20)
		x2, y2 := x1+10+rng.IntN(w-x1-10), y1+10+rng.IntN(h-y1-10)
		of := scene{annotation.Picture{Path: fmt.Sprint(i), Width: w, Height: h}, m}
		if i < n-1 {
			for y := y1; y < y2; y++ {
				for x := 3 * (y*w + x1); x < 3*(y*w+x2); x++ {
					m.Pix[x] = 255
				}
			}
			of.Boxes = []annotation.Box{
				{X1: float64(x1), Y1: float64(y1), X2: float64(x2), Y2: float64(y2), Class: 2},
				{X1: float64(x1), Y1: float64(y1), X2: float64(x2), Y2: float64(y2), Crowd: true},
			}
		}
		s = append(s, of)
	}
	return s
}

// newScenes is a data set of scenes.
func newScenes(t *testing.T, s scenes, o DatasetOptions) *Dataset {
	t.Helper()
	o.Seed = 7
	in := Input{MinSize: 128, MaxSize: 192, Mean: [3]float64{0.5, 0.5, 0.5}, Std: [3]float64{0.5, 0.5, 0.5}}
	d, err := NewDataset(s, 1, in, o)
	require.NoError(t, err)
	return d
}

// batch makes one, with its pixels.
func batch(t *testing.T, d *Dataset, epoch int, indices ...int) (*Batch, []float32) {
	t.Helper()
	b, err := d.Batch(data.Request{Indices: indices, Epoch: epoch})
	require.NoError(t, err)
	t.Cleanup(b.Close)
	return b, torch.SharedSlice[float32](b.memory)
}

// whiteIn is the smallest box around the white pixels of a batch's picture; false where there is none.
func whiteIn(b *Batch, pixels []float32, i int) (box [4]float32, found bool) {
	stride := 3 * b.Side.Width
	box = [4]float32{1e9, 1e9, 0, 0}
	for y := range b.Side.Height {
		for x := range b.Side.Width {
			if pixels[(i*b.Side.Height+y)*stride+3*x] > 0 { // above half of white; around the picture it is 0
				box[0], box[1] = min(box[0], float32(x)), min(box[1], float32(y))
				box[2], box[3] = max(box[2], float32(x+1)), max(box[3], float32(y+1))
				found = true
			}
		}
	}
	return box, found
}

func TestBoxesAreWhereAugmentedPixelsAre(t *testing.T) {
	s := drawScenes(41)
	indices := make([]int, len(s))
	for i := range indices {
		indices[i] = i
	}
	const ssd = "ssd without distorted colours" // in which white may be grey
	all := augmentations
	augmentations = append(slices.Clip(augmentations), augmentations[0])
	augmentations[len(all)].name, augmentations[len(all)].does = ssd, augmentation{zoomOut: true, crop: true, flip: true}
	t.Cleanup(func() { augmentations = all })
	for _, name := range Augmentations() {
		if name == "ssd" {
			continue
		}
		d := newScenes(t, s, DatasetOptions{Augment: name})
		moved, resized, flipped, outside := 0, map[Size]bool{}, 0, 0
		for epoch := 1; epoch <= 3; epoch++ {
			b, pixels := batch(t, d, epoch, indices...)
			for i, boxes := range b.Boxes {
				resized[b.Sizes[i]] = true
				require.LessOrEqual(t, b.Sizes[i].Height, b.Side.Height)
				require.LessOrEqual(t, b.Sizes[i].Width, b.Side.Width)
				white, any := whiteIn(b, pixels, i)
				if len(boxes) == 0 {
					outside++
					if any { // less than a pixel is left
						assert.LessOrEqual(t, min(white[2]-white[0], white[3]-white[1]), float32(2), "%s: %v", name, white)
					}
					continue
				}
				require.Len(t, boxes, 1, "crowds are not to be found")
				box := boxes[0]
				assert.Equal(t, 3, box.Label)
				require.LessOrEqual(t, box.X2, float32(b.Sizes[i].Width)+1e-3)
				require.LessOrEqual(t, box.Y2, float32(b.Sizes[i].Height)+1e-3)
				if box.X2-box.X1 < 3 || box.Y2-box.Y1 < 3 {
					continue
				}
				require.True(t, any)
				moved++
				// A pixel of the stored picture is as large as so many of the resized one.
				slack := 0.6 + 0.5*max(float64(b.Sizes[i].Width)/float64(s[i].Width), float64(b.Sizes[i].Height)/float64(s[i].Height))
				if name == ssd || name == "ssdlite" {
					slack = 0.6 + 0.5*4 // parts are enlarged
				}
				got := [4]float32{box.X1, box.Y1, box.X2, box.Y2}
				for k := range white {
					assert.InDelta(t, got[k], white[k], slack, "%s, epoch %d, picture %d: %v and %v", name, epoch, i, got, white)
				}
				plain := s[i].Boxes[0]
				if middle := (plain.X1 + plain.X2) / 2 / float64(s[i].Width); (middle < 0.5) != ((box.X1+box.X2)/2/float32(b.Sizes[i].Width) < 0.5) {
					flipped++
				}
			}
		}
		assert.Greater(t, moved, 70, name)
		assert.Equal(t, name == "none", flipped == 0, name)
		if does := d.options.augmentation(); does.sizes || does.jitter || does.crop {
			assert.Greater(t, len(resized), 60, name)
		} else {
			assert.LessOrEqual(t, len(resized), len(s), name)
			assert.Equal(t, 3, outside, "the picture without boxes")
		}
	}
}

func TestAugmentationIsOfSeedEpochAndPictureAlone(t *testing.T) {
	s := drawScenes(6)
	for _, name := range Augmentations()[:5] {
		d := newScenes(t, s, DatasetOptions{Augment: name, Distort: true})
		assert.True(t, d.Augmented())
		for i := range s {
			together, pixels := batch(t, d, 2, 0, 1, 2, 3, 4, 5)
			alone, own := batch(t, d, 2, i)
			require.Equal(t, together.Boxes[i], alone.Boxes[0])
			require.Equal(t, together.Sizes[i], alone.Sizes[0])
			for y := range alone.Sizes[0].Height {
				at := 3 * together.Side.Width * (i*together.Side.Height + y)
				row := 3 * alone.Sizes[0].Width
				require.Equal(t, own[3*alone.Side.Width*y:][:row], pixels[at:at+row], "%s: picture %d", name, i)
			}
		}
		first, a := batch(t, d, 1, 0, 1, 2, 3, 4, 5)
		second, b := batch(t, d, 2, 0, 1, 2, 3, 4, 5)
		assert.False(t, fmt.Sprint(first.Boxes) == fmt.Sprint(second.Boxes) && fmt.Sprint(a) == fmt.Sprint(b), name)

		plain := newScenes(t, s, DatasetOptions{Augment: "none"})
		want, wanted := batch(t, plain, 0, 0, 1, 2, 3, 4, 5)
		got, seen := batch(t, d, 0, 0, 1, 2, 3, 4, 5)
		assert.Equal(t, want.Boxes, got.Boxes, "evaluation is not augmented")
		assert.Equal(t, wanted, seen)
	}
	plain := newScenes(t, s, DatasetOptions{Augment: "none"})
	coloured := newScenes(t, s, DatasetOptions{Augment: "none", Distort: true})
	a, before := batch(t, plain, 1, 0, 1, 2)
	b, after := batch(t, coloured, 1, 0, 1, 2)
	assert.Equal(t, a.Boxes, b.Boxes)
	assert.NotEqual(t, before, after)
	assert.True(t, coloured.Augmented())
}

func TestMultiscaleHasTorchvisionsSizes(t *testing.T) {
	assert.Equal(t, []int{480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800}, multiscaleSizes(800))
	assert.Equal(t, []int{1}, multiscaleSizes(1))
	d := newScenes(t, drawScenes(2), DatasetOptions{Augment: "multiscale", MinSizes: []int{64}})
	assert.Equal(t, []int{64}, d.options.MinSizes)
	d = newScenes(t, drawScenes(2), DatasetOptions{Augment: "multiscale"})
	assert.Equal(t, 76, d.options.MinSizes[0])
	assert.Equal(t, 128, d.options.MinSizes[10])
}

func TestWrongAugmentations(t *testing.T) {
	for want, o := range map[string]DatasetOptions{
		`Augment must be one of flip, multiscale, lsj, ssd, ssdlite, none, found "hflip"`: {Augment: "hflip"},
		"Scale must be two numbers, rising, above 0 and at most 16, found [2 1]":          {Scale: [2]float64{2, 1}},
	} {
		_, err := NewDataset(drawScenes(1), 0, DefaultInput(), o)
		require.ErrorContains(t, err, want)
	}
}
