package boxes

import "github.com/thaw-ml/thaw/torch"

// edges are the four columns of boxes [..., 4], each [...].
func edges(b torch.Tensor) (x1, y1, x2, y2 torch.Tensor) {
	return b.Select(-1, 0), b.Select(-1, 1), b.Select(-1, 2), b.Select(-1, 3)
}

// Area gives the areas of boxes [..., 4]: [...].
func Area(b torch.Tensor) torch.Tensor {
	return torch.Tidy(func() torch.Tensor {
		x1, y1, x2, y2 := edges(b)
		return x2.Sub(x1).Mul(y2.Sub(y1))
	})
}

// IoU gives the intersection over union of all pairs of boxes a [N, 4] and b [M, 4]: [N, M]. Dimensions may stand before, and
// are broadcast.
func IoU(a, b torch.Tensor) torch.Tensor {
	return torch.Tidy(func() torch.Tensor {
		inter, union := interUnion(a.Unsqueeze(-2), b.Unsqueeze(-3))
		return inter.Div(union)
	})
}

// interUnion gives intersection and union of boxes [..., 4] that are broadcast.
func interUnion(a, b torch.Tensor) (inter, union torch.Tensor) {
	ax1, ay1, ax2, ay2 := edges(a)
	bx1, by1, bx2, by2 := edges(b)
	w := ax2.Minimum(bx2).Sub(ax1.Maximum(bx1)).ClampMin(0)
	h := ay2.Minimum(by2).Sub(ay1.Maximum(by1)).ClampMin(0)
	inter = w.Mul(h)
	return inter, Area(a).Add(Area(b)).Sub(inter)
}

// GIoU gives the generalized IoU (Rezatofighi et al. 2019) of all pairs of boxes a [N, 4] and b [M, 4]: [N, M].
func GIoU(a, b torch.Tensor) torch.Tensor {
	return torch.Tidy(func() torch.Tensor {
		a, b := a.Unsqueeze(-2), b.Unsqueeze(-3)
		inter, union := interUnion(a, b)
		around := enclosing(a, b)
		return inter.Div(union).Sub(around.Sub(union).Div(around))
	})
}

// enclosing gives the areas of the smallest boxes around both of a pair.
func enclosing(a, b torch.Tensor) torch.Tensor {
	ax1, ay1, ax2, ay2 := edges(a)
	bx1, by1, bx2, by2 := edges(b)
	return ax2.Maximum(bx2).Sub(ax1.Minimum(bx1)).Mul(ay2.Maximum(by2).Sub(ay1.Minimum(by1)))
}

// giouEps keeps divisions from 0 (torchvision.ops.generalized_box_iou_loss).
const giouEps = 1e-7

// GIoULoss is 1 - GIoU of each box with the one at its place, a and b [..., 4]: [...], computed in float32 at least. Boxes of
// no area have gradients too.
func GIoULoss(a, b torch.Tensor) torch.Tensor {
	return torch.Tidy(func() torch.Tensor {
		a, b := wide(a), wide(b)
		ax1, ay1, ax2, ay2 := edges(a)
		bx1, by1, bx2, by2 := edges(b)
		w := ax2.Minimum(bx2).Sub(ax1.Maximum(bx1))
		h := ay2.Minimum(by2).Sub(ay1.Maximum(by1))
		overlap := w.GtScalar(0).LogicalAnd(h.GtScalar(0))
		inter := torch.WhereScalarOther(overlap, w.Mul(h), 0)
		union := Area(a).Add(Area(b)).Sub(inter)
		iou := inter.Div(union.AddScalar(giouEps))
		around := enclosing(a, b)
		return iou.Sub(around.Sub(union).Div(around.AddScalar(giouEps))).RSubScalar(1)
	})
}

// wide is t in float32, unless t is float64.
func wide(t torch.Tensor) torch.Tensor {
	if t.DType() == torch.Float64 {
		return t
	}
	return t.To(torch.Float32)
}

// Clip moves the edges of boxes [N, ..., 4] into pictures of the given sizes [N, 2 or more], height and width first.
func Clip(b, sizes torch.Tensor) torch.Tensor {
	return torch.Tidy(func() torch.Tensor {
		shape := []int{sizes.Size(0)}
		for range b.Dim() - 2 {
			shape = append(shape, 1)
		}
		height, width := sizes.Select(1, 0).Reshape(shape...), sizes.Select(1, 1).Reshape(shape...)
		x1, y1, x2, y2 := edges(b)
		within := func(x, most torch.Tensor) torch.Tensor { return x.ClampMin(0).Minimum(most) }
		return torch.Stack([]torch.Tensor{within(x1, width), within(y1, height), within(x2, width), within(y2, height)}, -1)
	})
}
