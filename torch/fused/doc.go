// Package fused holds the kernels and copies that make a training step cheap. It is for package nn's layers, for models
// and for whoever writes a training loop; everyone else calls nn.
//
// [Linear], [LinearGELU], [LinearJoined] and [Conv2d] are torch.Linear and torch.Conv2d by faster ways, which read the
// copies that [ShadowParams] hold. [Fork] spares a cast where a residual runs beside a layer. A loop uses none of them
// by name: it runs forward and backward through [Cast], which refreshes the copies before the one and collects
// gradients after the other.
//
// docs/decisions/002 and 008 say what each of them saves.
package fused

import (
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/internal/bridge"
	"github.com/thaw-ml/thaw/torch/internal/capi"
)

// What package torch keeps to itself.
var (
	native = bridge.Native.(func(t torch.Tensor, op string) capi.Handle)
	adopt  = bridge.Adopt.(func(h capi.Handle, scope int32) torch.Tensor)
	failed = bridge.Failed.(func(op string, err *capi.Error, given ...capi.Handle) *torch.Error)
	scalar = bridge.DType.(func(d torch.DType) int64)
	count  = bridge.Count.(func(n int64))
)
