package augment

import (
	"encoding/json"
	"image"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/vision/detection/annotation"
	"github.com/thaw-ml/thaw/vision/picture"
	"github.com/thaw-ml/thaw/vision/transform"
)

func boxesOf(edges [][4]float64) (boxes []annotation.Box) {
	for _, e := range edges {
		boxes = append(boxes, annotation.Box{X1: e[0], Y1: e[1], X2: e[2], Y2: e[3], Area: (e[2] - e[0]) * (e[3] - e[1])})
	}
	return boxes
}

func requireEdges(t *testing.T, want [][4]float64, got []annotation.Box, within float64) {
	t.Helper()
	require.Len(t, got, len(want))
	for i, b := range got {
		require.InDeltaSlice(t, want[i][:], []float64{b.X1, b.Y1, b.X2, b.Y2}, within)
	}
}

func TestEqualsTorchvision(t *testing.T) {
	text, err := os.ReadFile("testdata/boxes.json")
	require.NoError(t, err)
	var cases []struct {
		Size, To                               [2]int
		Part                                   [4]int
		Boxes, Flipped, Resized, Cropped, Kept [][4]float64
	}
	require.NoError(t, json.Unmarshal(text, &cases))
	require.Len(t, cases, 40)
	dropped := 0
	for _, c := range cases {
		boxes := boxesOf(c.Boxes)
		requireEdges(t, c.Flipped, FlipHorizontal(boxes, c.Size[0]), 1e-9)
		requireEdges(t, c.Resized, Resize(boxes, c.Size[0], c.Size[1], c.To[0], c.To[1]), 1e-4) // its ratios are float32
		cropped := Crop(boxes, image.Rect(c.Part[0], c.Part[1], c.Part[2], c.Part[3]))
		requireEdges(t, c.Cropped, cropped, 1e-9)
		requireEdges(t, c.Kept, Drop(cropped, 1), 1e-9)
		dropped += len(cropped) - len(c.Kept)
		requireEdges(t, c.Boxes, boxes, 0)
	}
	assert.Greater(t, dropped, 20)
}

// scene is a black picture with a white rectangle of whole pixels.
func scene(rng *rand.Rand) (*picture.Image, annotation.Box) {
	w, h := 40+rng.IntN(200), 40+rng.IntN(200)
	m := &picture.Image{Width: w, Height: h, Pix: make([]byte, 3*w*h)}
	x1, y1 := rng.IntN(w-10), rng.IntN(h-10)
	x2, y2 := x1+5+rng.IntN(w-x1-5), y1+5+rng.IntN(h-y1-5)
	for y := y1; y < y2; y++ {
		for i := 3 * (y*w + x1); i < 3*(y*w+x2); i++ {
			m.Pix[i] = 255
		}
	}
	return m, annotation.Box{X1: float64(x1), Y1: float64(y1), X2: float64(x2), Y2: float64(y2), Area: float64((x2 - x1) * (y2 - y1))}
}

// white is the box around the pixels that are at least half white.
func white(m *picture.Image) (r image.Rectangle) {
	for y := range m.Height {
		for x := range m.Width {
			if m.Pix[3*(y*m.Width+x)] >= 128 {
				r = r.Union(image.Rect(x, y, x+1, y+1))
			}
		}
	}
	return r
}

// The pixels of a drawn rectangle, moved by package transform, stay inside the moved box and fill it, to half a pixel.
func TestBoxesMoveWithPixels(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	apply := func(op transform.Operation, m *picture.Image) *picture.Image {
		out := new(picture.Image)
		require.NoError(t, op.Apply(out, m))
		return out
	}
	moved := 0
	for range 200 {
		m, box := scene(rng)
		boxes := []annotation.Box{box}
		var crop IoUCrop
		part, keep, err := crop.Part(rng, boxes, m.Width, m.Height)
		require.NoError(t, err)
		require.Equal(t, []bool{true}, keep, "its middle is in every part")
		require.True(t, part.In(image.Rect(0, 0, m.Width, m.Height)))
		m, boxes = apply(transform.Crop{Box: part}, m), Crop(boxes, part)

		m, boxes = apply(transform.FlipHorizontal{}, m), FlipHorizontal(boxes, m.Width)

		w, h, err := ScaleJitter{Width: 160, Height: 160, Scale: [2]float64{0.5, 2}}.Size(rng, m.Width, m.Height)
		require.NoError(t, err)
		boxes = Resize(boxes, m.Width, m.Height, w, h)
		all := image.Rect(0, 0, w, h)
		m = apply(transform.Resample{Box: image.Rect(0, 0, m.Width, m.Height), Width: w, Height: h, Window: all}, m)

		fixed := FixedCrop(rng, w, h, 160, 160)
		m, boxes = apply(transform.Crop{Box: fixed}, m), Drop(Crop(boxes, fixed), 1)
		if len(boxes) == 0 {
			continue
		}
		b := boxes[0]
		if b.X2-b.X1 < 3 || b.Y2-b.Y1 < 3 {
			continue
		}
		moved++
		r := white(m)
		const slack = 0.55 // a pixel is half white where the edge goes through its middle
		assert.InDelta(t, b.X1, float64(r.Min.X), slack)
		assert.InDelta(t, b.Y1, float64(r.Min.Y), slack)
		assert.InDelta(t, b.X2, float64(r.Max.X), slack)
		assert.InDelta(t, b.Y2, float64(r.Max.Y), slack)
	}
	assert.Greater(t, moved, 120)
}

func TestIoUCrop(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	boxes := boxesOf([][4]float64{{10, 10, 60, 60}, {80, 70, 95, 95}})
	smaller, left := 0, 0
	for range 300 {
		part, keep, err := IoUCrop{}.Part(rng, boxes, 100, 100)
		require.NoError(t, err)
		if part.Dx()*part.Dy() < 100*100 {
			smaller++
		}
		kept := Drop(Crop(Keep(boxes, keep), part), 0)
		require.NotEmpty(t, kept, "a part keeps a box")
		left += len(boxes) - len(kept)
		aspect := float64(part.Dx()) / float64(part.Dy())
		require.True(t, 0.5 <= aspect && aspect <= 2)
	}
	assert.Greater(t, smaller, 150)
	assert.Greater(t, left, 30)

	for range 20 { // without an end in torchvision
		part, keep, err := IoUCrop{Overlap: []float64{0.99}, Scale: [2]float64{0.3, 0.4}}.Part(rng, boxes, 100, 100)
		require.NoError(t, err)
		assert.Equal(t, image.Rect(0, 0, 100, 100), part)
		assert.Equal(t, []bool{true, true}, keep)
	}
	part, keep, err := IoUCrop{Overlap: []float64{0}}.Part(rng, nil, 100, 50)
	require.NoError(t, err)
	assert.Equal(t, image.Rect(0, 0, 100, 50), part)
	assert.Empty(t, keep)
	_, _, err = IoUCrop{}.Part(rng, boxes, 1, 1)
	require.NoError(t, err)
}

func TestWrongSettings(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for want, c := range map[string]IoUCrop{
		"IoUCrop: Scale [0.5 0.3]":  {Scale: [2]float64{0.5, 0.3}},
		"IoUCrop: Aspect [-1 2]":    {Aspect: [2]float64{-1, 2}},
		"IoUCrop: Overlap is empty": {Overlap: []float64{}},
		"IoUCrop: Tries -1":         {Tries: -1},
		"IoUCrop: Overlap [-0.1]":   {Overlap: []float64{-0.1}},
	} {
		_, _, err := c.Part(rng, nil, 10, 10)
		require.ErrorContains(t, err, want)
	}
	_, _, err := IoUCrop{}.Part(rng, nil, 0, 10)
	require.ErrorContains(t, err, "a picture of 0 x 10 pixels")
	for want, s := range map[string]ScaleJitter{
		"a target of 0 x 10 pixels": {Height: 10},
		"Scale [0 1]":               {Width: 10, Height: 10, Scale: [2]float64{0, 1}},
	} {
		_, _, err := s.Size(rng, 10, 10)
		require.ErrorContains(t, err, "ScaleJitter: "+want)
	}
	w, h, err := ScaleJitter{Width: 10, Height: 10}.Size(rng, 10_000, 1)
	require.NoError(t, err)
	assert.True(t, w >= 1 && h == 1)
}

func TestZoomOut(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	larger := 0
	for range 200 {
		c := ZoomOut{}.Canvas(rng, 30, 20)
		require.True(t, image.Rect(0, 0, 30, 20).In(c))
		require.LessOrEqual(t, c.Dx(), 120)
		if c.Dx() > 30 {
			larger++
			require.InDelta(t, float64(c.Dx())/30, float64(c.Dy())/20, 0.1)
		}
	}
	assert.InDelta(t, 100, larger, 35)
}

func TestPhotometricDistort(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	m := &picture.Image{Width: 4, Height: 3, Pix: make([]byte, 36)}
	for i := range m.Pix {
		m.Pix[i] = byte(7 * i)
	}
	of := map[string]int{}
	same := 0
	for range 400 {
		plan, err := transform.NewPlan(4, 3)
		require.NoError(t, err)
		require.NoError(t, PhotometricDistort{}.Draw(plan, rng))
		if len(plan.Operations()) == 0 {
			same++
		}
		for i, op := range plan.Operations() {
			switch op := op.(type) {
			case transform.Brightness:
				of["brightness"]++
				assert.Zero(t, i)
				assert.True(t, 0.875 <= op.Factor && op.Factor <= 1.125)
			case transform.Contrast:
				of["contrast"]++
			case transform.Saturation:
				of["saturation"]++
			case transform.Hue:
				of["hue"]++
				assert.True(t, -0.05 <= op.Shift && op.Shift <= 0.05)
			case Channels:
				of["channels"]++
				assert.Equal(t, len(plan.Operations())-1, i)
			}
		}
		out := new(picture.Image)
		require.NoError(t, plan.Apply(out, m))
		require.Len(t, out.Pix, 36)
	}
	for name, n := range of {
		assert.InDelta(t, 200, n, 45, name)
	}
	assert.Len(t, of, 5)
	assert.InDelta(t, 400/32., same, 12)
	assert.Equal(t, byte(7), m.Pix[1], "what is given stays")

	out := new(picture.Image)
	require.NoError(t, Channels{2, 0, 1}.Apply(out, m))
	assert.Equal(t, []byte{14, 0, 7, 35, 21, 28}, out.Pix[:6])
	require.ErrorContains(t, Channels{0, 0, 1}.Apply(out, m), "Channels [0 0 1]")
	require.ErrorContains(t, Channels{0, 1, 6}.Apply(out, m), "Channels [0 1 6]")
	plan, err := transform.NewPlan(4, 3)
	require.NoError(t, err)
	require.ErrorContains(t, PhotometricDistort{Hue: [2]float64{-1, 0}}.Draw(plan, rng), "PhotometricDistort: Hue [-1 0]")
}
