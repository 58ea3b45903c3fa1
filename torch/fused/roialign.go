package fused

import (
	"runtime"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/internal/capi"
)

// RoIAlign reads regions of feature maps on the CPU, as torchvision.ops.roi_align does: x [N, C, H, W] in float32 or float64,
// and rois [K, 5], each a picture's number and a box, to [K, C, rows, columns], channels-last in memory. A place is scale times
// a coordinate, less a half where aligned. Each pixel is the mean of sampling x sampling samples, for a sampling of 0 of one
// for each place that it covers. Gradients flow to x. Package vision/detection/boxes has it for all devices.
func RoIAlign(x, rois torch.Tensor, scale float64, rows, columns, sampling int, aligned bool) torch.Tensor {
	const name = "roi_align"
	in, r := native(x, name), native(rois, name)
	h, scope, err := capi.RoIAlign(in, r, scale, rows, columns, sampling, aligned)
	if err != nil {
		panic(failed(name, err, in, r))
	}
	runtime.KeepAlive(x)
	runtime.KeepAlive(rois)
	return adopt(h, scope)
}
