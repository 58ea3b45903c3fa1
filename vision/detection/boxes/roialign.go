package boxes

import (
	"fmt"
	"math"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/fused"
)

// RoIAlign says how regions of feature maps are read (He et al. 2017).
type RoIAlign struct {
	Height, Width int // of what a region becomes, in pixels
	// Sampling is how many samples a pixel is the mean of, in each direction; 0 takes one for each place that it covers.
	Sampling int
	// Aligned takes places as centres of pixels, half a pixel from their corners; without, a place lies on its corner, as
	// in torchvision's detectors, and regions are a place wide and high at least.
	Aligned bool
}

// Forward reads regions of maps x [N, C, H, W]: rois [K, 5] are the number of a picture and a box each, of which a place is
// scale times a coordinate. The result is [K, C, Height, Width] in x's dtype; gradients flow to x. Samples more than a place
// outside count as 0. Results are those of torchvision.ops.roi_align. On the CPU a kernel reads in float32; elsewhere
// libtorch's operators do, for which the regions are read from the device.
func (r RoIAlign) Forward(x, rois torch.Tensor, scale float64) torch.Tensor {
	return torch.Tidy(func() torch.Tensor {
		in := wide(x)
		if x.Device() == torch.CPU {
			return fused.RoIAlign(in, rois, scale, r.Height, r.Width, r.Sampling, r.Aligned).To(x.DType())
		}
		return r.composed(in, rois, scale).To(x.DType())
	})
}

// composed is Forward by libtorch's grid_sampler: for each picture and number of samples that its regions need, one grid.
func (r RoIAlign) composed(x, rois torch.Tensor, scale float64) torch.Tensor {
	if rois.Dim() != 2 || rois.Size(1) != 5 {
		panic(&torch.Error{Op: "roi_align", Shapes: [][]int{rois.Shape()}, Msg: "regions [K, 5] are needed: a picture's number and its box"})
	}
	values := torch.ToSlice[float32](rois.To(torch.Float32))
	type group struct{ picture, down, across int }
	members := map[group][]int{}
	var groups []group
	for k := range rois.Size(0) {
		v := values[5*k : 5*k+5]
		if !(v[0] >= 0 && int(v[0]) < x.Size(0)) {
			panic(&torch.Error{Op: "roi_align", Kind: torch.IndexError,
				Msg: fmt.Sprintf("region %d is of picture %v, and there are %d", k, v[0], x.Size(0))})
		}
		g := group{int(v[0]), r.samples(v[2], v[4], scale, r.Height), r.samples(v[1], v[3], scale, r.Width)}
		if members[g] == nil {
			groups = append(groups, g)
		}
		members[g] = append(members[g], k)
	}
	if len(groups) == 0 {
		return torch.Zeros(x.DType(), x.Device(), 0, x.Size(1), r.Height, r.Width)
	}
	var parts []torch.Tensor
	place := make([]int, rois.Size(0)) // of each region among the parts
	n := 0
	for _, g := range groups {
		for _, k := range members[g] {
			place[k] = n
			n++
		}
		at := torch.FromSlice(members[g]).ToDevice(x.Device())
		parts = append(parts, torch.Tidy(func() torch.Tensor {
			return r.grid(x.Narrow(0, g.picture, 1), rois.IndexSelect(0, at).To(x.DType()), scale, g.down, g.across)
		}))
	}
	return torch.Cat(parts, 0).IndexSelect(0, torch.FromSlice(place).ToDevice(x.Device()))
}

// samples is how many a pixel has along a side from one coordinate to another.
func (r RoIAlign) samples(from, to float32, scale float64, pixels int) int {
	if r.Sampling > 0 {
		return r.Sampling
	}
	length := to*float32(scale) - from*float32(scale)
	if !r.Aligned {
		length = max(length, 1)
	}
	return max(int(math.Ceil(float64(length/float32(pixels)))), 0)
}

// grid reads the regions of one picture, [1, C, H, W], all with as many samples.
func (r RoIAlign) grid(x, rois torch.Tensor, scale float64, down, across int) torch.Tensor {
	channels, k := x.Size(1), rois.Size(0)
	if down*across == 0 {
		return torch.Zeros(x.DType(), x.Device(), k, channels, r.Height, r.Width)
	}
	y, insideY := r.places(rois.Select(1, 2), rois.Select(1, 4), scale, r.Height, down, x.Size(2))
	px, insideX := r.places(rois.Select(1, 1), rois.Select(1, 3), scale, r.Width, across, x.Size(3))
	rows, columns := r.Height*down, r.Width*across
	grid := torch.Stack([]torch.Tensor{
		px.Unsqueeze(1).Expand(k, rows, columns), y.Unsqueeze(2).Expand(k, rows, columns),
	}, -1).View(1, k*rows, columns, 2)
	const bilinear, border, corners = 0, 1, true
	read := torch.GridSampler(x, grid, bilinear, border, corners).View(channels, k, rows, columns)
	inside := insideY.Unsqueeze(2).LogicalAnd(insideX.Unsqueeze(1))
	read = torch.WhereScalarOther(inside, read, 0).View(channels, k, r.Height, down, r.Width, across)
	return read.MeanDim(3, 5).Transpose(0, 1)
}

// places are where samples lie along one direction of maps with so many places, [K, pixels samples], from -1 for the first to
// 1 for the last, and whether they lie inside.
func (r RoIAlign) places(from, to torch.Tensor, scale float64, pixels, samples, size int) (at, inside torch.Tensor) {
	offset := 0.0
	if r.Aligned {
		offset = 0.5
	}
	start := from.MulScalar(scale).SubScalar(offset)
	length := to.MulScalar(scale).SubScalar(offset).Sub(start)
	if !r.Aligned {
		length = length.ClampMin(1)
	}
	pixel := length.DivScalar(pixels)
	i := torch.ArangeStep(0, pixels*samples, 1, torch.Float32, from.Device())
	row, sample := i.DivScalarRounded(samples, "floor"), i.RemainderScalar(samples).AddScalar(0.5)
	wide := func(t torch.Tensor) torch.Tensor { return t.Unsqueeze(1) }
	at = wide(start).Add(row.Mul(wide(pixel))).Add(sample.Mul(wide(pixel)).DivScalar(samples))
	inside = at.GeScalar(-1).LogicalAnd(at.LeScalar(size))
	if size == 1 {
		return at.ZerosLike(), inside
	}
	return at.MulScalar(2. / float64(size-1)).SubScalar(1), inside
}

// Levels tells which level of a pyramid each box [..., 4] is read from, [...] (int64) counted from the first: one of 224 pixels
// from the level whose places are 16 pixels apart, one of half of that a level below, and so on (Lin et al. 2016, formula 1).
// The first level's places are 2^first pixels apart.
func Levels(b torch.Tensor, first, levels int) torch.Tensor {
	return torch.Tidy(func() torch.Tensor {
		k := Area(b).Sqrt().DivScalar(224).Log2().AddScalar(4).AddScalar(1e-6).Floor()
		return k.Clamp(first, first+levels-1).To(torch.Int64).SubScalar(first)
	})
}
