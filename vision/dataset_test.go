package vision_test

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/data"
	"github.com/thaw-ml/thaw/torch/torchtest"
	"github.com/thaw-ml/thaw/vision"
	"github.com/thaw-ml/thaw/vision/album"
	"github.com/thaw-ml/thaw/vision/picture"
	"github.com/thaw-ml/thaw/vision/transform"
)

// tiny is an input that a ResNet runs through in no time.
var tiny = vision.Input{Resize: 36, Crop: 32, Mean: [3]float64{0.485, 0.456, 0.406}, Std: [3]float64{0.229, 0.224, 0.225}}

// drawing is a noisy picture, whose brightness follows from its class.
func drawing(class, number, width, height int) image.Image {
	rng := rand.New(rand.NewPCG(uint64(class), uint64(number)))
	m := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			v := 30*class + rng.IntN(40)
			m.Set(x, y, color.RGBA{byte(v), byte(v + x), byte(255 - v - y), 255})
		}
	}
	return m
}

// drawings makes a folder per class, of PNGs and JPEGs of 16 to 32 pixels: a.jpg comes before b.png, and so on.
func drawings(t testing.TB, classes, each int) string {
	t.Helper()
	folder := t.TempDir()
	for c := range classes {
		at := filepath.Join(folder, fmt.Sprintf("class%d", c))
		require.NoError(t, os.Mkdir(at, 0o755))
		for i := range each {
			var b bytes.Buffer
			name, m := fmt.Sprintf("%c.png", 'a'+i), drawing(c, i, 16+(7*i+c)%17, 16+(5*i+3*c)%17)
			if i%2 == 0 {
				name = strings.Replace(name, "png", "jpg", 1)
				require.NoError(t, jpeg.Encode(&b, m, nil))
			} else {
				require.NoError(t, png.Encode(&b, m))
			}
			require.NoError(t, os.WriteFile(filepath.Join(at, name), b.Bytes(), 0o644))
		}
	}
	return folder
}

func openAlbum(t testing.TB, path string) *album.Album {
	t.Helper()
	a, err := album.Open(path, album.Options{})
	require.NoError(t, err)
	return a
}

func newSet(t testing.TB, a *album.Album, change func(*vision.DatasetOptions)) *vision.Dataset {
	t.Helper()
	o := vision.DatasetOptions{Seed: 5}
	if change != nil {
		change(&o)
	}
	d, err := vision.NewDataset(a, tiny, o)
	require.NoError(t, err)
	return d
}

func batch(t testing.TB, d *vision.Dataset, epoch int, indices ...int) *vision.Batch {
	t.Helper()
	b, err := d.Batch(data.Request{Indices: indices, Epoch: epoch})
	require.NoError(t, err)
	return own(b)
}

// own is a batch with pixels of its own, which need not be closed.
func own(b *vision.Batch) *vision.Batch {
	defer b.Close()
	return &vision.Batch{
		Index: b.Index, Target: b.Target, Pixels: slices.Clone(b.Pixels), Side: b.Side, Mean: b.Mean, Std: b.Std,
		Mixed: b.Mixed, Share: b.Share,
	}
}

// damage cuts a picture off within its pixels: its header stays good.
func damage(t testing.TB, a *album.Album, i int) {
	t.Helper()
	data, err := a.Bytes(i)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(a.Name(i), data[:len(data)-20], 0o644))
}

func TestDatasetIsItsAlbum(t *testing.T) {
	a := openAlbum(t, drawings(t, 3, 4))
	d := newSet(t, a, nil)
	assert.Equal(t, 12, d.Len())
	assert.Equal(t, 1, d.Length(3))
	b := batch(t, d, 0, 7, 2, 11)
	assert.Equal(t, []int{7, 2, 11}, b.Indices())
	assert.Equal(t, []int{1, 0, 2}, b.Target.Classes)
	assert.Equal(t, []int{3, 1}, []int{b.Size(), b.Width()})
	assert.Nil(t, b.Lengths())
	assert.Empty(t, d.Skipped())
	// Of evaluation, a picture is the same in every batch.
	size := 3 * tiny.Crop * tiny.Crop
	require.Len(t, b.Pixels, 3*size)
	for k, i := range b.Index {
		m, err := a.Picture(i, picture.Options{})
		require.NoError(t, err)
		var want picture.Image
		require.NoError(t, transform.Evaluation(tiny.Resize, tiny.Crop).Apply(&want, m, nil))
		assert.Equal(t, want.Pix, b.Pixels[k*size:(k+1)*size], "picture %d", i)
		assert.Equal(t, want.Pix, batch(t, d, 0, i).Pixels)
	}
}

// Every setting gives the pixels that its transforms give.
func TestDatasetTrains(t *testing.T) {
	a := openAlbum(t, drawings(t, 2, 3))
	for name, c := range map[string]struct {
		change func(*vision.DatasetOptions)
		want   transform.Pipeline
		varies bool
	}{
		"none": {func(o *vision.DatasetOptions) { o.Augment = "none" }, transform.Evaluation(36, 32), false},
		"flip": {func(o *vision.DatasetOptions) { o.Augment = "flip" }, append(transform.Evaluation(36, 32), transform.RandomHorizontalFlip{Probability: 0.5}), true},
		"flip and erase": {func(o *vision.DatasetOptions) { o.Augment, o.Erase = "flip", 1 },
			append(transform.Evaluation(36, 32), transform.RandomHorizontalFlip{Probability: 0.5}, transform.RandomErasing{Probability: 1, Color: transform.MeanColor}), true},
		"none but erase": {func(o *vision.DatasetOptions) { o.Augment, o.Erase = "none", 1 },
			append(transform.Evaluation(36, 32), transform.RandomErasing{Probability: 1, Color: transform.MeanColor}), true},
		"crop": {func(o *vision.DatasetOptions) { o.Scale = [2]float64{0.3, 0.5} },
			transform.Pipeline{transform.RandomResizedCrop{Width: 32, Height: 32, Scale: [2]float64{0.3, 0.5}}, transform.RandomHorizontalFlip{Probability: 0.5}}, true},
		"trivialaugment": {func(o *vision.DatasetOptions) { o.Augment = "trivialaugment" },
			transform.Pipeline{transform.RandomResizedCrop{Width: 32, Height: 32}, transform.RandomHorizontalFlip{Probability: 0.5}, transform.TrivialAugmentWide{}}, true},
		"randaugment and erase": {func(o *vision.DatasetOptions) { o.Augment, o.Erase = "randaugment", 1 },
			transform.Pipeline{transform.RandomResizedCrop{Width: 32, Height: 32}, transform.RandomHorizontalFlip{Probability: 0.5}, transform.RandAugment{Magnitude: 9}, transform.RandomErasing{Probability: 1, Color: transform.MeanColor}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			d := newSet(t, a, c.change)
			assert.Equal(t, c.varies, d.Augmented())
			b := batch(t, d, 3, 4, 1)
			size := 3 * 32 * 32
			for k, i := range b.Index {
				m, err := a.Picture(i, picture.Options{})
				require.NoError(t, err)
				var want picture.Image
				require.NoError(t, c.want.Apply(&want, m, rand.New(rand.NewPCG(5, 3<<40|uint64(i)))))
				assert.Equal(t, want.Pix, b.Pixels[k*size:(k+1)*size], "picture %d", i)
			}
			if c.varies {
				assert.NotEqual(t, b.Pixels, batch(t, d, 4, 4, 1).Pixels, "another epoch")
			}
			assert.Equal(t, batch(t, newSet(t, a, nil), 0, 4, 1).Pixels, batch(t, d, 0, 4, 1).Pixels, "evaluation is the same")
		})
	}
	d := newSet(t, a, func(o *vision.DatasetOptions) { o.MixUp, o.Augment = 1, "none" })
	assert.True(t, d.Augmented(), "MixUp alone")
	_, err := vision.NewDataset(a, vision.Input{Resize: 32, Crop: 32}, vision.DatasetOptions{})
	assert.ErrorContains(t, err, "the standard deviation [0 0 0]")
	_, err = vision.NewDataset(a, vision.Input{Resize: 0, Crop: 32, Std: tiny.Std}, vision.DatasetOptions{})
	assert.ErrorContains(t, err, "an input of 32 pixels cut out of 0")
}

// A large JPEG of which few pixels are trained on is decoded at a part of its size: the same crop, nearly the same
// pixels.
func TestLargeJPEGsAreDecodedSmaller(t *testing.T) {
	if turbo, err := picture.JPEGDecoder(); err != nil || !strings.HasPrefix(turbo, "libjpeg-turbo") {
		t.Skip("Go's decoder decodes at full size")
	}
	smooth := image.NewRGBA(image.Rect(0, 0, 600, 400))
	for y := range 400 {
		for x := range 600 {
			smooth.Set(x, y, color.RGBA{byte(x * 255 / 600), byte(y * 255 / 400), byte(255 - x*255/600), 255})
		}
	}
	folder := t.TempDir()
	for i, m := range []image.Image{smooth, drawing(0, 1, 600, 400)} {
		require.NoError(t, os.Mkdir(filepath.Join(folder, fmt.Sprint(i)), 0o755))
		f, err := os.Create(filepath.Join(folder, fmt.Sprint(i), "a.jpg"))
		require.NoError(t, err)
		require.NoError(t, jpeg.Encode(f, m, &jpeg.Options{Quality: 95}))
		require.NoError(t, f.Close())
	}
	d := newSet(t, openAlbum(t, folder), nil)
	pipeline, err := transform.DefaultTraining(tiny.Crop).Pipeline()
	require.NoError(t, err)
	full, err := picture.Read(filepath.Join(folder, "0", "a.jpg"), picture.Options{})
	require.NoError(t, err)
	differ := 0
	for epoch := 1; epoch <= 8; epoch++ {
		var want picture.Image
		require.NoError(t, pipeline.Apply(&want, full, rand.New(rand.NewPCG(5, uint64(epoch)<<40))))
		got := batch(t, d, epoch, 0).Pixels
		for i, v := range want.Pix {
			assert.InDelta(t, v, got[i], 6, "epoch %d", epoch)
		}
		if !bytes.Equal(want.Pix, got) {
			differ++
		}
	}
	assert.Greater(t, differ, 4, "it was decoded at its full size")
	noisy, err := picture.Read(filepath.Join(folder, "1", "a.jpg"), picture.Options{})
	require.NoError(t, err)
	var want picture.Image
	require.NoError(t, transform.Evaluation(tiny.Resize, tiny.Crop).Apply(&want, noisy, nil))
	assert.Equal(t, want.Pix, batch(t, d, 0, 1).Pixels, "what is measured is decoded at its full size")
}

// What is random depends on the seed, the epoch and the picture: not on workers, on what ran before or at the same
// time.
func TestBatchesAreRepeatable(t *testing.T) {
	a := openAlbum(t, drawings(t, 4, 5))
	asked := [][]int{{3, 7, 1}, {0, 19, 12, 5}, {8}, {2, 4, 6, 9, 10}, {11, 13, 14, 15, 16, 17, 18}}
	make := func(workers int, order []int, seed uint64) []*vision.Batch {
		d, err := vision.NewDataset(a, tiny, vision.DatasetOptions{
			Augment: "randaugment", Erase: 0.5, MixUp: 0.4, CutMix: 1, Workers: workers, Seed: seed,
		})
		require.NoError(t, err)
		out := make([]*vision.Batch, len(asked))
		var busy sync.WaitGroup
		for _, k := range order {
			busy.Go(func() {
				b, err := d.Batch(data.Request{Indices: asked[k], Epoch: 2})
				assert.NoError(t, err)
				out[k] = own(b)
			})
			if workers == 1 {
				busy.Wait()
			}
		}
		busy.Wait()
		return out
	}
	want := make(1, []int{0, 1, 2, 3, 4}, 5)
	for _, workers := range []int{1, 2, 7} {
		for _, order := range [][]int{{0, 1, 2, 3, 4}, {4, 2, 0, 3, 1}} {
			assert.Equal(t, want, make(workers, order, 5), "%d workers, batches asked for as %v", workers, order)
		}
	}
	assert.NotEqual(t, want, make(1, []int{0, 1, 2, 3, 4}, 6), "another seed")
}

// What only the first stages read is left out.
func TestBatchWithoutPixels(t *testing.T) {
	a := openAlbum(t, drawings(t, 2, 3))
	d := newSet(t, a, func(o *vision.DatasetOptions) { o.Augment = "none" })
	for i := range a.Len() {
		require.NoError(t, os.Remove(a.Name(i))) // nor is anything opened
	}
	b, err := d.Batch(data.Request{Indices: []int{5, 0}, FirstStage: 6, Epoch: 1})
	require.NoError(t, err)
	assert.Nil(t, b.Pixels)
	assert.Equal(t, []int{1, 0}, b.Target.Classes)
	torchtest.Scoped(t, func() {
		tensors := b.Tensors()
		for i, x := range tensors {
			assert.Equal(t, i == 3, x.Defined(), "tensor %d: the targets are needed", i)
		}
		assert.Equal(t, []int64{1, 0}, torch.ToSlice[int64](tensors[3]))
	})
}

func TestUnreadableFails(t *testing.T) {
	a := openAlbum(t, drawings(t, 2, 4))
	damage(t, a, 3)
	damage(t, a, 6)
	d := newSet(t, a, nil)
	_, err := d.Batch(data.Request{Indices: []int{0, 6, 1, 3}})
	require.ErrorContains(t, err, a.Name(6), "the batch's first")
	assert.ErrorContains(t, err, "cut off")
	assert.Empty(t, d.Skipped())
	batch(t, d, 1, 0, 1, 2)
}

func TestUnreadableIsSkipped(t *testing.T) {
	a := openAlbum(t, drawings(t, 2, 5))
	clean := newSet(t, a, nil)
	want := batch(t, clean, 1, 2, 9, 4)
	for _, i := range []int{1, 5, 8} {
		damage(t, a, i)
	}
	d := newSet(t, a, func(o *vision.DatasetOptions) { o.SkipUnreadable = true })
	for range 2 { // a picture that was left out once is left out again
		b := batch(t, d, 1, 1, 2, 5, 9, 4, 8) // the first, the middle and the last
		assert.Equal(t, want.Index, b.Index)
		assert.Equal(t, want.Target, b.Target)
		assert.Equal(t, want.Pixels, b.Pixels)
		assert.Equal(t, []int{1, 5, 8}, slices.Sorted(maps.Keys(d.Skipped())))
		for i, err := range d.Skipped() {
			assert.ErrorContains(t, err, a.Name(i))
		}
	}
	without, err := d.Batch(data.Request{Indices: []int{1, 2, 8}, FirstStage: 6})
	require.NoError(t, err)
	assert.Equal(t, []int{2}, without.Index, "the rows that were kept have none of it either")
	assert.Zero(t, batch(t, newSet(t, a, func(o *vision.DatasetOptions) { o.SkipUnreadable, o.MixUp = true, 1 }), 1, 8, 1).Size(), "a whole batch")
	for i := range a.Len() {
		damage(t, a, i)
	}
	d = newSet(t, a, func(o *vision.DatasetOptions) { o.SkipUnreadable = true })
	assert.Zero(t, batch(t, d, 0, 0, 1, 2, 3).Size())
	_, err = d.Batch(data.Request{Indices: []int{4, 5, 6, 7, 8, 9}})
	assert.ErrorContains(t, err, "none of the 10 pictures can be read; one of them: ")
	assert.ErrorContains(t, err, a.Name(4))
}

// Targets and pixels are those of package transform's mixtures.
func TestMixedBatches(t *testing.T) {
	a := openAlbum(t, drawings(t, 3, 3))
	indices := []int{8, 0, 4, 2}
	unmixed := batch(t, newSet(t, a, nil), 2, indices...)
	rng := func(first int) *rand.Rand { return rand.New(rand.NewPCG(6, 2<<40|uint64(first))) }

	up := batch(t, newSet(t, a, func(o *vision.DatasetOptions) { o.MixUp = 4 }), 2, indices...)
	m, err := transform.MixUp{Alpha: 4}.Draw(rng(8))
	require.NoError(t, err)
	targets, err := m.Targets([]int{2, 0, 1, 0}, 3)
	require.NoError(t, err)
	assert.Equal(t, targets, up.Mixed)
	assert.Equal(t, unmixed.Pixels, up.Pixels, "they are mixed where they are floats")
	assert.Equal(t, float32(m.Lambda), up.Share)
	torchtest.Scoped(t, func() {
		x, got := shown(unmixed), shown(up)
		want := x.Roll([]int{1}, []int{0}).MulScalar(1 - m.Lambda).Add(x.MulScalar(m.Lambda)) // torchvision's v2.MixUp
		assert.LessOrEqual(t, got.Sub(want).Abs().Max().Item(), 2e-6)                         // lerp and the sum of two products round otherwise; values reach 2.7
		assert.Greater(t, got.Sub(shown(unmixed)).Abs().Max().Item(), 0.01)
		assert.Equal(t, []int{4, 3}, up.Tensors()[3].Shape())
	})

	cut := batch(t, newSet(t, a, func(o *vision.DatasetOptions) { o.CutMix = 1 }), 2, indices...)
	m, err = transform.CutMix{Alpha: 1}.Draw(rng(8), 32, 32)
	require.NoError(t, err)
	pasted := slices.Clone(unmixed.Pixels)
	require.NoError(t, m.Paste(pasted, 32, 32))
	assert.Equal(t, pasted, cut.Pixels)
	assert.NotEqual(t, unmixed.Pixels, cut.Pixels)
	assert.Equal(t, float32(1), cut.Share)
	torchtest.Scoped(t, func() {
		still := *unmixed
		still.Pixels = pasted
		assert.Equal(t, shown(&still).Digest(), shown(cut).Digest(), "a share of 1 changes no bit")
	})

	both := newSet(t, a, func(o *vision.DatasetOptions) { o.MixUp, o.CutMix = 1, 1 })
	ups, cuts := 0, 0
	for epoch := 1; epoch <= 40; epoch++ {
		b := batch(t, both, epoch, indices...)
		sum := float32(0)
		for _, v := range b.Mixed {
			sum += v
		}
		assert.InDelta(t, 4, sum, 1e-5, "each sample's targets add up to 1")
		if b.Share < 1 {
			ups++
		} else {
			cuts++
		}
	}
	assert.Greater(t, min(ups, cuts), 8, "of 40 batches, %d by MixUp and %d by CutMix", ups, cuts)
	evaluated := batch(t, both, 0, indices...)
	assert.Nil(t, evaluated.Mixed)
	assert.Zero(t, evaluated.Share)
}
