package transform_test

import (
	"image"
	"math/rand/v2"
	"slices"
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

// A plan for a part that was decoded gives what it gives for the whole.
func TestPart(t *testing.T) {
	src := synthetic(100, 80)
	part := image.Rect(5, 8, 70, 80)
	cut := apply(t, transform.Pipeline{box(part)}, src)
	for name, ops := range map[string][]transform.Operation{
		"crop":      {transform.Crop{Box: image.Rect(10, 10, 30, 30)}},
		"beyond":    {transform.Crop{Box: image.Rect(40, 60, 70, 95)}, transform.FlipHorizontal{}},
		"resampled": {transform.Resample{Box: image.Rect(5, 20, 70, 80), Width: 32, Height: 40, Window: image.Rect(0, 0, 32, 40)}},
	} {
		want, got := new(picture.Image), new(picture.Image)
		require.NoError(t, planOf(t, 100, 80, ops...).Apply(want, src))
		plan := planOf(t, 100, 80, ops...)
		require.NoError(t, plan.Part(part))
		require.NoError(t, plan.Apply(got, cut))
		assert.Equal(t, want.Pix, got.Pix, name)
	}
	plan := planOf(t, 100, 80, transform.Crop{Box: image.Rect(10, 10, 30, 30)})
	require.NoError(t, plan.Part(image.Rect(0, 0, 100, 80)), "the whole")
	for _, wrong := range []image.Rectangle{image.Rect(0, 0, 29, 80), image.Rect(0, 0, 101, 80), {}} {
		require.ErrorContains(t, plan.Part(wrong), "of a picture of 100 x 80 pixels was decoded, and the plan reads (10,10)-(30,30): decode that")
	}
	require.ErrorContains(t, planOf(t, 100, 80, transform.FlipHorizontal{}).Part(part), "the plan reads (0,0)-(100,80)")
	require.ErrorContains(t, planOf(t, 100, 80).Part(part), "the plan reads (0,0)-(100,80)")
}

// box is a transform that keeps a box.
type box image.Rectangle

func (b box) Draw(plan *transform.Plan, _ *rand.Rand) error {
	plan.Add(transform.Crop{Box: image.Rectangle(b)})
	return nil
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

// What the CPU's vector instructions give is what Go gives, whatever the sizes, the filter and the window; and a mirrored resizing
// is one that is flipped.
func TestVectorisedIsGo(t *testing.T) {
	if !transform.Vectorised() {
		t.Skip("this CPU has no AVX2")
	}
	_, sources := goldens(t)
	inGo := func(op transform.Operation, src *picture.Image) *picture.Image {
		defer transform.WithoutVectors()()
		dst := new(picture.Image)
		require.NoError(t, op.Apply(dst, src))
		return dst
	}
	rng := rand.New(rand.NewPCG(5, 6))
	for _, source := range []string{"synthetic-500x375", "synthetic-333x500", "lossy-larger.webp", "restart-rows.jpg", "odd-444.jpg",
		"palette.gif", "synthetic-8000x2", "one-pixel.png", "synthetic-37x1000"} {
		src := *sources[source]
		src.Pix = slices.Clip(slices.Clone(src.Pix)) // nothing behind it may be read
		for n := range 60 {
			low := image.Pt(rng.IntN(src.Width), rng.IntN(src.Height))
			box := image.Rectangle{low, low.Add(image.Pt(1+rng.IntN(src.Width-low.X), 1+rng.IntN(src.Height-low.Y)))}
			if n%4 == 0 {
				box = image.Rect(0, 0, src.Width, src.Height)
			}
			op := transform.Resample{Box: box, Width: 1 + rng.IntN(300), Height: 1 + rng.IntN(300), Filter: transform.Filter(n % 3)}
			switch n % 5 {
			case 0:
				op.Width = box.Dx()
			case 1:
				op.Height = box.Dy()
			}
			op.Window = image.Rect(0, 0, op.Width, op.Height)
			if n%3 == 0 {
				op.Window = image.Rect(-2, op.Height/3, op.Width*3/4+1, op.Height+3)
			}
			got := new(picture.Image)
			require.NoError(t, op.Apply(got, &src))
			want := inGo(op, &src)
			require.True(t, slices.Equal(want.Pix, got.Pix), "%s %+v", source, op)

			flipped := inGo(transform.FlipHorizontal{}, want)
			plan := planOf(t, src.Width, src.Height, op, transform.FlipHorizontal{})
			require.Len(t, plan.Operations(), 1)
			require.NoError(t, plan.Apply(got, &src))
			require.True(t, slices.Equal(flipped.Pix, got.Pix), "mirrored: %s %+v", source, op)
			op.Mirror = true
			require.True(t, slices.Equal(flipped.Pix, inGo(op, &src).Pix), "mirrored in Go: %s %+v", source, op)
		}
	}
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
