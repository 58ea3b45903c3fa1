package boxes

import (
	"math"

	"github.com/thaw-ml/thaw/torch"
)

// Coder writes a box as what a network regresses: the shift of its centre from that of a reference box, in widths and
// heights of that, and the logarithms of the ratios of width and height (Girshick et al. 2014), each times a weight.
type Coder struct {
	Weights [4]float64 // of x, y, width, height
}

// MaxLogRatio is the largest logarithm of a ratio of sizes that Decode takes: larger ones are cut off.
var MaxLogRatio = math.Log(1000. / 16)

// Encode gives the codes [..., 4] of boxes [..., 4] by references [..., 4].
func (c Coder) Encode(b, references torch.Tensor) torch.Tensor {
	return torch.Tidy(func() torch.Tensor {
		w, h, x, y := centered(references)
		bw, bh, bx, by := centered(b)
		return torch.Stack([]torch.Tensor{
			bx.Sub(x).MulScalar(c.Weights[0]).Div(w), by.Sub(y).MulScalar(c.Weights[1]).Div(h),
			bw.Div(w).Log().MulScalar(c.Weights[2]), bh.Div(h).Log().MulScalar(c.Weights[3]),
		}, -1)
	})
}

// Decode is the inverse of Encode. Codes and references are broadcast.
func (c Coder) Decode(codes, references torch.Tensor) torch.Tensor {
	return torch.Tidy(func() torch.Tensor {
		w, h, x, y := centered(references)
		dx, dy, dw, dh := edges(codes)
		x = dx.DivScalar(c.Weights[0]).Mul(w).Add(x)
		y = dy.DivScalar(c.Weights[1]).Mul(h).Add(y)
		halfW := dw.DivScalar(c.Weights[2]).ClampMax(MaxLogRatio).Exp().Mul(w).MulScalar(0.5)
		halfH := dh.DivScalar(c.Weights[3]).ClampMax(MaxLogRatio).Exp().Mul(h).MulScalar(0.5)
		return torch.Stack([]torch.Tensor{x.Sub(halfW), y.Sub(halfH), x.Add(halfW), y.Add(halfH)}, -1)
	})
}

// centered gives widths, heights and centres of boxes [..., 4].
func centered(b torch.Tensor) (w, h, x, y torch.Tensor) {
	x1, y1, x2, y2 := edges(b)
	w, h = x2.Sub(x1), y2.Sub(y1)
	return w, h, x1.Add(w.MulScalar(0.5)), y1.Add(h.MulScalar(0.5))
}

// LinearCoder writes a box as the distances of its left, upper, right and lower edge from the centre of a reference box, in
// widths and heights of that: FCOS' (Tian et al. 2019), whose references are as large as a cell of the level's grid.
type LinearCoder struct{}

// Encode gives the codes [..., 4] of boxes by references [..., 4], which are broadcast.
func (LinearCoder) Encode(b, references torch.Tensor) torch.Tensor {
	return torch.Tidy(func() torch.Tensor {
		x1, y1, x2, y2 := edges(b)
		x, y, w, h := middle(references)
		return torch.Stack([]torch.Tensor{x.Sub(x1).Div(w), y.Sub(y1).Div(h), x2.Sub(x).Div(w), y2.Sub(y).Div(h)}, -1)
	})
}

// Decode is the inverse of Encode.
func (LinearCoder) Decode(codes, references torch.Tensor) torch.Tensor {
	return torch.Tidy(func() torch.Tensor {
		l, t, r, b := edges(codes)
		x, y, w, h := middle(references)
		return torch.Stack([]torch.Tensor{x.Sub(l.Mul(w)), y.Sub(t.Mul(h)), x.Add(r.Mul(w)), y.Add(b.Mul(h))}, -1)
	})
}

// middle gives centres, widths and heights.
func middle(b torch.Tensor) (x, y, w, h torch.Tensor) {
	x1, y1, x2, y2 := edges(b)
	return x1.Add(x2).MulScalar(0.5), y1.Add(y2).MulScalar(0.5), x2.Sub(x1), y2.Sub(y1)
}
