package boxes

import "github.com/thaw-ml/thaw/torch"

// Composed is RoIAlign's way on other devices.
func (r RoIAlign) Composed(x, rois torch.Tensor, scale float64) torch.Tensor {
	return torch.Tidy(func() torch.Tensor { return r.composed(x, rois, scale) })
}
