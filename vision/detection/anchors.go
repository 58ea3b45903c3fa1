package detection

import (
	"math"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
)

// Anchors are the boxes that a network starts from: at every place of every level some around its upper left corner.
type Anchors struct {
	Sizes  [][]float64 // of each level, in pixels: the root of the area
	Ratios []float64   // height by width
}

// perPlace is how many there are at a place.
func (a Anchors) perPlace() int { return len(a.Sizes[0]) * len(a.Ratios) }

// cells are a level's boxes around the origin, in whole pixels: ratio by ratio, and for each size by size. Only their
// half widths and heights are given.
func (a Anchors) cells(level int) (halves [][2]float64) {
	for _, ratio := range a.Ratios {
		h := float32(math.Sqrt(ratio))
		w := 1 / h
		for _, size := range a.Sizes[level] {
			half := func(side float32) float64 { return math.RoundToEven(float64(side / 2)) }
			halves = append(halves, [2]float64{half(w * float32(size)), half(h * float32(size))})
		}
	}
	return halves
}

// grid is the number of places of a level.
type grid struct{ height, width int }

// grids are those of maps [N, C, H, W].
func grids(maps nn.Values) (out []grid) {
	for _, m := range maps {
		out = append(out, grid{m.Size(2), m.Size(3)})
	}
	return out
}

// steps are the pixels between a level's places: of rows and of columns, in whole pixels. finest is how many there are
// between those of the first level.
func steps(level, first grid, finest int) (rows, columns int) {
	return first.height * finest / level.height, first.width * finest / level.width
}

// levels makes the anchors of each level, [H W A, 4] float32, on a device by operators alone: place by place in row-major
// order.
func (a Anchors) levels(gs []grid, finest int, device torch.Device) (out []torch.Tensor) {
	for i, g := range gs {
		out = append(out, torch.Tidy(func() torch.Tensor {
			rows, columns := steps(g, gs[0], finest)
			y := torch.ArangeStep(0, g.height, 1, torch.Float32, device).MulScalar(rows).View(-1, 1, 1).Expand(g.height, g.width, 1)
			x := torch.ArangeStep(0, g.width, 1, torch.Float32, device).MulScalar(columns).View(1, -1, 1).Expand(g.height, g.width, 1)
			w, h := column(a.cells(i), device)
			return torch.Stack([]torch.Tensor{x.Sub(w), y.Sub(h), x.Add(w), y.Add(h)}, -1).Flatten(0, 2)
		}))
	}
	return out
}

// column gives half widths and heights as vectors, without a copy from the host, which a CUDA graph could not repeat.
func column(halves [][2]float64, device torch.Device) (w, h torch.Tensor) {
	var ws, hs []torch.Tensor
	for _, half := range halves {
		ws = append(ws, torch.Full([]int{1}, half[0], torch.Float32, device))
		hs = append(hs, torch.Full([]int{1}, half[1], torch.Float32, device))
	}
	return torch.Cat(ws, 0), torch.Cat(hs, 0)
}

// flat lays out maps [N, A k, H, W] anchor by anchor, as levels does: [N, H W A, k] in float32.
func flat(m torch.Tensor, k int) torch.Tensor {
	return torch.Tidy(func() torch.Tensor {
		return m.Permute(0, 2, 3, 1).Reshape(m.Size(0), -1, k).To(torch.Float32)
	})
}

// flatAll is flat of all levels together.
func flatAll(maps nn.Values, k int) torch.Tensor {
	return torch.Tidy(func() torch.Tensor {
		var parts []torch.Tensor
		for _, m := range maps {
			parts = append(parts, flat(m, k))
		}
		return torch.Cat(parts, 1)
	})
}

// every gives each n-th tensor of values, from one on: the maps of one kind, level by level.
func every(values nn.Values, n, from int) (out nn.Values) {
	for i := from; i < len(values); i += n {
		out = append(out, values[i])
	}
	return out
}
