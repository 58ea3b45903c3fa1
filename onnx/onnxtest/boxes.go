package onnxtest

import (
	"math"
	"sort"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/fused"
)

// The operators of graphs that find boxes, as far as they are met: one picture, all from the first axis on.
func init() {
	operators["Resize"] = resize
	operators["NonMaxSuppression"] = nonMaxSuppression
	operators["RoiAlign"] = func(n Node, in []torch.Tensor) torch.Tensor {
		rois := torch.Cat([]torch.Tensor{in[2].To(torch.Float32).Unsqueeze(1), in[1]}, 1)
		aligned := n.Attributes["coordinate_transformation_mode"] == "half_pixel"
		height, width := n.integer("output_height", 1), n.integer("output_width", 1)
		return fused.RoIAlign(in[0], rois, n.float("spatial_scale"), height, width, n.integer("sampling_ratio", 0), aligned)
	}
	operators["Pad"] = func(_ Node, in []torch.Tensor) torch.Tensor { // behind the last two axes
		pads := list(in[1])
		return in[0].ConstantPad([]int{0, pads[7], 0, pads[6]}, 0)
	}
	operators["NonZero"] = func(_ Node, in []torch.Tensor) torch.Tensor { return in[0].Nonzero().T() }
	operators["InstanceNormalization"] = func(n Node, in []torch.Tensor) torch.Tensor {
		return torch.GroupNorm(in[0], in[0].Size(1), in[1], in[2], n.float("epsilon"))
	}
	operators["ReduceMax"] = func(n Node, in []torch.Tensor) torch.Tensor { return in[0].Max().Unsqueeze(0) } // of [n]
	operators["ReduceMin"] = func(n Node, in []torch.Tensor) torch.Tensor {
		if _, ok := n.Attributes["axes"]; !ok {
			return in[0].Min().Unsqueeze(0)
		}
		return in[0].Amin(n.ints("axes")...) // keepdims is 0
	}
}

func resize(n Node, in []torch.Tensor) torch.Tensor {
	if n.Attributes["mode"] == "nearest" { // by scales
		f := torch.ToSlice[float32](in[2])
		return torch.UpsampleNearest2d(in[0], []int{in[0].Size(2) * int(f[2]), in[0].Size(3) * int(f[3])}, nil)
	}
	return torch.UpsampleBilinear2d(in[0], list(in[3])[2:], false, nil)
}

// topK gives values and positions; of equal ones the lower position comes first.
func topK(n Node, in []torch.Tensor) (values, at torch.Tensor) {
	all, k := torch.ToSlice[float64](in[0].To(torch.Float64)), list(in[1])[0]
	order := make([]int64, len(all))
	for i := range order {
		order[i] = int64(i)
	}
	largest := n.integer("largest", 1) == 1
	sort.SliceStable(order, func(i, j int) bool {
		a, b := all[order[i]], all[order[j]]
		if largest {
			return a > b
		}
		return a < b
	})
	at = Int64s(order[:k], k)
	return in[0].IndexSelect(0, at), at
}

// nonMaxSuppression looks at every pair.
func nonMaxSuppression(_ Node, in []torch.Tensor) torch.Tensor {
	boxes, scores := torch.ToSlice[float32](in[0]), torch.ToSlice[float32](in[1]) // [1, n, 4], [1, labels, n]
	n, most := in[0].Size(1), list(in[2])[0]
	limit, least := torch.ToSlice[float32](in[3])[0], torch.ToSlice[float32](in[4])[0]
	var out []int64
	for label := range in[1].Size(1) {
		own := scores[label*n : (label+1)*n]
		var order, kept []int
		for i, s := range own {
			if s > least {
				order = append(order, i)
			}
		}
		sort.SliceStable(order, func(i, j int) bool { return own[order[i]] > own[order[j]] })
		for _, i := range order {
			suppressed := len(kept) == most
			for _, k := range kept {
				suppressed = suppressed || overlap([4]float32(boxes[4*i:]), [4]float32(boxes[4*k:])) > limit
			}
			if !suppressed {
				kept = append(kept, i)
				out = append(out, 0, int64(label), int64(i))
			}
		}
	}
	return Int64s(out, len(out)/3, 3)
}

// overlap is the IoU.
func overlap(a, b [4]float32) float32 {
	area := func(v [4]float32) float32 { return (v[2] - v[0]) * (v[3] - v[1]) }
	common := [4]float32{max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])}
	if common[2] <= common[0] || common[3] <= common[1] {
		return 0
	}
	shared := area(common)
	if iou := shared / (area(a) + area(b) - shared); !math.IsNaN(float64(iou)) {
		return iou
	}
	return 0
}
