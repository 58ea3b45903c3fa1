package boxes_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/torchtest"
	"github.com/thaw-ml/thaw/vision/detection/boxes"
)

type roiGolden struct {
	RoIAlign []struct {
		Height, Width, Sampling int
		Aligned                 bool
		Scale                   float64
		Result, Gradient        torchtest.Stored
	} `json:"roi_align"`
	Levels []int
}

// regions are those of testdata/boxes.py.
func regions() torch.Tensor {
	b, pictures := someBoxes("regions", 12, 80, 50), torchtest.Whole("picture", 12, 2)
	for i := range b {
		for k := range b[i] {
			b[i][k] -= 10
		}
	}
	b[3], b[4], b[5] = boxes.Box{20, 20, 20, 20}, boxes.Box{-40, -30, 200, 150}, boxes.Box{300, 300, 330, 340}
	var flat []float32
	for i := range b {
		flat = append(append(flat, float32(pictures[i])), b[i][:]...)
	}
	return torch.FromSlice(flat, 12, 5)
}

// The kernel of the CPU, for maps in both memory formats, and the way of other devices.
func TestRoIAlignIsTorchvisions(t *testing.T) {
	g := torchtest.Golden[roiGolden](t, "boxes.json.gz")
	require.Len(t, g.RoIAlign, 5)
	for _, c := range g.RoIAlign {
		r := boxes.RoIAlign{Height: c.Height, Width: c.Width, Sampling: c.Sampling, Aligned: c.Aligned}
		for i, forward := range []func(x, rois torch.Tensor, scale float64) torch.Tensor{r.Forward, r.Forward, r.Composed} {
			torchtest.Scoped(t, func() {
				x := torch.FromSlice(numbers("maps", 2*20*13*17, 0, 1), 2, 20, 13, 17)
				if i == 1 {
					x = x.ContiguousAs(torch.ChannelsLast)
				}
				x.RequiresGrad_(true)
				y := forward(x, regions(), c.Scale)
				torchtest.Close(t, c.Result.Tensor(t), y, 1e-5, 2e-5, fmt.Sprintf("%+v, way %d", r, i))
				y.BackwardWith(torch.FromSlice(numbers("roi gradient", y.Numel(), 0, 1), y.Shape()...))
				torchtest.Close(t, c.Gradient.Tensor(t), x.Grad(), 1e-4, 1e-4, fmt.Sprintf("gradient of %+v, way %d", r, i))
			})
		}
	}
}

// Gradients do not depend on the number of threads, and those of float64 are the differences' limits.
func TestRoIAlignGradient(t *testing.T) {
	torchtest.Scoped(t, func() {
		x := torch.FromSlice(numbers("maps", 2*20*13*17, 0, 1), 2, 20, 13, 17).To(torch.Float64).RequiresGrad_(true)
		r := boxes.RoIAlign{Height: 3, Width: 2, Sampling: 2, Aligned: true}
		y := r.Forward(x, regions(), 0.25)
		require.Equal(t, torch.Float64, y.DType())
		weight := torch.FromSlice(numbers("weight", y.Numel(), 0, 1), y.Shape()...).To(torch.Float64)
		y.Mul(weight).Sum().Backward()
		direction := torch.FromSlice(numbers("direction", x.Numel(), 0, 1), x.Shape()...).To(torch.Float64)
		const step = 1e-3 // the result is linear in x
		at := func(by float64) float64 {
			return r.Forward(x.Detach().AddScaled(direction, by), regions(), 0.25).Mul(weight).Sum().Item()
		}
		assert.InDelta(t, (at(step)-at(-step))/(2*step), x.Grad().Mul(direction).Sum().Item(), 1e-8)

		var alone torch.Tensor
		torch.SingleThreaded(func() {
			again := x.Detach().Clone().RequiresGrad_(true)
			r.Forward(again, regions(), 0.25).Mul(weight).Sum().Backward()
			alone = again.Grad()
		})
		torchtest.Close(t, x.Grad(), alone, 0, 0)
	})
}

func TestRoIAlignOfWrongInput(t *testing.T) {
	torchtest.Scoped(t, func() {
		x := torch.Zeros(torch.Float32, torch.CPU, 2, 3, 4, 4)
		r := boxes.RoIAlign{Height: 2, Width: 2}
		for _, forward := range []func(x, rois torch.Tensor, scale float64) torch.Tensor{r.Forward, r.Composed} {
			assert.ErrorContains(t, torch.Try(func() { forward(x, torch.Zeros(torch.Float32, torch.CPU, 1, 4), 1) }), "regions [K, 5] are needed")
			err := torch.Try(func() { forward(x, torch.FromSlice([]float32{2, 0, 0, 1, 1}, 1, 5), 1) })
			assert.ErrorContains(t, err, "region 0 is of picture 2, and there are 2")
			assert.Equal(t, []int{0, 3, 2, 2}, forward(x, torch.Zeros(torch.Float32, torch.CPU, 0, 5), 1).Shape())
		}
		nan := torch.Zeros(torch.Float32, torch.CPU, 1, 1).Log()
		rois := torch.Cat([]torch.Tensor{torch.Zeros(torch.Float32, torch.CPU, 1, 4), nan}, 1)
		assert.ErrorContains(t, torch.Try(func() { r.Forward(x, rois, 1) }), "no finite number")
		assert.Error(t, torch.Try(func() { r.Forward(x.Select(0, 0), rois, 1) }))
	})
}

func TestLevelsAreTorchvisions(t *testing.T) {
	g := torchtest.Golden[roiGolden](t, "boxes.json.gz")
	torchtest.Scoped(t, func() {
		sides := append([]float32{56, 112, 224, 448, 896, 111.99, 448.01}, numbers("sides", 60, 500, 496)...)
		var b []boxes.Box
		for _, s := range sides {
			b = append(b, boxes.Box{0, 0, s, s})
		}
		assert.Equal(t, g.Levels, torch.ToSlice[int](boxes.Levels(tensorOf(b), 2, 4)))
	})
}
