package pixels

import (
	"runtime"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/internal/bridge"
	"github.com/thaw-ml/thaw/torch/internal/capi"
)

// What package torch keeps to itself.
var (
	native = bridge.Native.(func(t torch.Tensor, op string) capi.Handle)
	adopt  = bridge.Adopt.(func(h capi.Handle, scope int32) torch.Tensor)
	failed = bridge.Failed.(func(op string, err *capi.Error, given ...capi.Handle) *torch.Error)
)

// Normalise makes a network's input of pictures on the CPU in one pass: x [N, H, W, 3] in uint8 times factor plus offset, each
// [3] or [1, 3, 1, 1] in float32, to [N, 3, H, W] in float32, channels-last in memory. Product and sum are rounded each by
// itself, as Mul and Add do. It panics *[torch.Error] for other shapes, kinds or devices.
func Normalise(x, factor, offset torch.Tensor) torch.Tensor {
	const name = "normalise"
	in, f, o := native(x, name), native(factor, name), native(offset, name)
	h, scope, err := capi.Normalise(in, f, o)
	if err != nil {
		panic(failed(name, err, in, f, o))
	}
	runtime.KeepAlive(x)
	runtime.KeepAlive(factor)
	runtime.KeepAlive(offset)
	return adopt(h, scope)
}
