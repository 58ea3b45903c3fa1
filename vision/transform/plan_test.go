package transform_test

import (
	"image"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/vision/picture"
	"github.com/thaw-ml/thaw/vision/transform"
)

// everything is a pipeline of all that is random.
func everything(t testing.TB) transform.Pipeline {
	t.Helper()
	training := transform.DefaultTraining(64)
	training.Jitter = transform.ColorJitter{Brightness: 0.4, Contrast: 0.4, Saturation: 0.4, Hue: 0.1}
	training.Policy = transform.RandPolicy
	training.Erase = 0.5
	p, err := training.Pipeline()
	require.NoError(t, err)
	return append(p, transform.TrivialAugmentWide{}, transform.RandomVerticalFlip{Probability: 0.5})
}

func TestSeedDecides(t *testing.T) {
	src := synthetic(120, 90)
	p := everything(t)
	made := func(seed uint64) []byte {
		dst := new(picture.Image)
		require.NoError(t, p.Apply(dst, src, rand.New(rand.NewPCG(seed, 0))))
		return dst.Pix
	}
	different := 0
	for seed := range uint64(30) {
		assert.Equal(t, made(seed), made(seed))
		if string(made(seed)) != string(made(seed+1)) {
			different++
		}
	}
	assert.Greater(t, different, 27)
}

func TestManyGoroutinesGiveWhatOneGives(t *testing.T) {
	src := synthetic(130, 77)
	before := append([]byte(nil), src.Pix...)
	p := everything(t)
	const n = 64
	want := make([]*picture.Image, n)
	for i := range want {
		want[i] = new(picture.Image)
		require.NoError(t, p.Apply(want[i], src, rand.New(rand.NewPCG(uint64(i), 1))))
	}
	var group sync.WaitGroup
	for i := range want {
		group.Go(func() {
			got := new(picture.Image)
			if assert.NoError(t, p.Apply(got, src, rand.New(rand.NewPCG(uint64(i), 1)))) {
				assert.Equal(t, want[i].Pix, got.Pix)
			}
		})
	}
	group.Wait()
	assert.Equal(t, before, src.Pix, "the source is only read")
}

func TestApplyWritesIntoABatch(t *testing.T) {
	src := synthetic(60, 50)
	batch := make([]byte, 2*32*32*3)
	row := batch[32*32*3:]
	dst := &picture.Image{Pix: row[: 0 : 32*32*3]}
	require.NoError(t, transform.Evaluation(36, 32).Apply(dst, src, rand.New(rand.NewPCG(1, 1))))
	assert.Same(t, &row[0], &dst.Pix[0])
	assert.Equal(t, dst.Pix, row)
	assert.Equal(t, make([]byte, 32*32*3), batch[:32*32*3])
}

func TestEmptyPlanCopies(t *testing.T) {
	src, dst := synthetic(6, 5), new(picture.Image)
	require.NoError(t, transform.Pipeline{transform.RandomHorizontalFlip{}}.Apply(dst, src, rand.New(rand.NewPCG(1, 1))))
	assert.Equal(t, src.Pix, dst.Pix)
	assert.NotSame(t, &src.Pix[0], &dst.Pix[0])
}

func TestCropAfterResizeIsOneOperation(t *testing.T) {
	plan, err := transform.NewPlan(500, 375)
	require.NoError(t, err)
	require.NoError(t, transform.Evaluation(256, 224).Draw(plan, nil))
	assert.Equal(t, []transform.Operation{transform.Resample{Box: image.Rect(0, 0, 500, 375), Width: 341, Height: 256,
		Window: image.Rect(58, 16, 282, 240), Exact: true}}, plan.Operations())
	w, h := plan.Size()
	assert.Equal(t, [2]int{224, 224}, [2]int{w, h})

	// A second crop is one of its own.
	require.NoError(t, transform.CenterCrop{Width: 100, Height: 300}.Draw(plan, nil))
	require.Len(t, plan.Operations(), 2)
	w, h = plan.Size()
	assert.Equal(t, [2]int{100, 300}, [2]int{w, h})
}

func TestDecodedAtAnotherSize(t *testing.T) {
	plan, err := transform.NewPlan(4000, 3000)
	require.NoError(t, err)
	require.NoError(t, transform.Evaluation(256, 224).Draw(plan, nil))
	box, scale := plan.Region()
	assert.Equal(t, image.Rect(0, 0, 4000, 3000), box)
	assert.Equal(t, 1., scale, "exact")
	require.NoError(t, plan.Decoded(500, 375))
	at := plan.Operations()[0].(transform.Resample)
	assert.Equal(t, image.Rect(0, 0, 500, 375), at.Box)
	dst, small := new(picture.Image), synthetic(500, 375)
	require.NoError(t, plan.Apply(dst, small))
	want := apply(t, transform.Evaluation(256, 224), small)
	assert.Equal(t, want.Pix, dst.Pix)

	// A part moves with the picture; one pixel stays one.
	plan = planOf(t, 4000, 3000, transform.Resample{Box: image.Rect(1000, 600, 3000, 2400), Width: 224, Height: 224,
		Window: image.Rect(0, 0, 224, 224)})
	box, scale = plan.Region()
	assert.Equal(t, image.Rect(1000, 600, 3000, 2400), box)
	assert.InDelta(t, 224./1800, scale, 1e-12)
	require.NoError(t, plan.Decoded(500, 375))
	assert.Equal(t, image.Rect(125, 75, 375, 300), plan.Operations()[0].(transform.Resample).Box)
	plan = planOf(t, 4000, 3000, transform.Resample{Box: image.Rect(3999, 2999, 4000, 3000), Width: 2, Height: 2, Window: image.Rect(0, 0, 2, 2)})
	require.NoError(t, plan.Decoded(500, 375))
	assert.Equal(t, image.Rect(499, 374, 500, 375), plan.Operations()[0].(transform.Resample).Box)

	plan = planOf(t, 40, 30, transform.Crop{Box: image.Rect(30, 20, 50, 40)})
	box, scale = plan.Region()
	assert.Equal(t, image.Rect(30, 20, 40, 30), box)
	assert.Equal(t, 1., scale)
	assert.ErrorContains(t, plan.Decoded(20, 15), "decode it at full size")
	plan = planOf(t, 40, 30)
	assert.ErrorContains(t, plan.Decoded(20, 15), "decode it at full size")
	assert.NoError(t, plan.Decoded(40, 30))
	assert.ErrorContains(t, plan.Apply(dst, small), "made for a picture of 40 x 30")
}

func planOf(t *testing.T, w, h int, ops ...transform.Operation) *transform.Plan {
	t.Helper()
	plan, err := transform.NewPlan(w, h)
	require.NoError(t, err)
	for _, op := range ops {
		plan.Add(op)
	}
	return plan
}

// libtorch rounds weights to 16 bits and runs its passes in its own order. Each pass rounds to 8 bits; a bilinear pass
// averages, so that it takes on at most what the other was off by.
func TestVectorisedStaysNearPillow(t *testing.T) {
	_, sources := goldens(t)
	worst, total, n := 0, 0, 0
	for _, source := range []string{"synthetic-500x375", "synthetic-333x500", "lossy-larger.webp", "restart-rows.jpg", "odd-444.jpg",
		"synthetic-1024x768", "palette.gif", "rgb-lzw.tif", "synthetic-8000x2", "one-pixel.png", "synthetic-37x1000"} {
		src := sources[source]
		for _, inset := range []int{0, 7} {
			box := image.Rectangle{image.Pt(inset, inset), image.Pt(src.Width-inset, src.Height-inset)}
			if box.Empty() {
				continue
			}
			for _, window := range []image.Rectangle{image.Rect(0, 0, 224, 224), image.Rect(10, 20, 214, 200), image.Rect(-5, 3, 226, 240)} {
				op := transform.Resample{Box: box, Width: 224, Height: 224, Window: window}
				exact := op
				exact.Exact = true
				got, want := new(picture.Image), new(picture.Image)
				require.NoError(t, op.Apply(got, src))
				require.NoError(t, exact.Apply(want, src))
				require.Len(t, got.Pix, len(want.Pix))
				for i, v := range got.Pix {
					d := max(int(v)-int(want.Pix[i]), int(want.Pix[i])-int(v))
					worst, total, n = max(worst, d), total+d, n+1
				}
			}
		}
	}
	assert.LessOrEqual(t, worst, 1)
	assert.Less(t, float64(total)/float64(n), 0.03) // measured: 0.021
	assert.Positive(t, total, "the vectorised kernel did not run")
}

func TestSteadyStateAllocatesLittle(t *testing.T) {
	src, dst := synthetic(300, 200), new(picture.Image)
	p := everything(t)
	plan, err := transform.NewPlan(src.Width, src.Height)
	require.NoError(t, err)
	rng := rand.New(rand.NewPCG(3, 4))
	run := func() {
		require.NoError(t, plan.Reset(src.Width, src.Height))
		require.NoError(t, p.Draw(plan, rng))
		require.NoError(t, plan.Apply(dst, src))
	}
	for range 20 {
		run()
	}
	assert.Less(t, testing.AllocsPerRun(200, run), 60.)
}
