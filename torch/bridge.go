package torch

import (
	"github.com/thaw-ml/thaw/torch/internal/bridge"
	"github.com/thaw-ml/thaw/torch/internal/capi"
)

func init() {
	bridge.Native = func(t Tensor, op string) capi.Handle { return t.ptr(op) }
	bridge.Adopt = adopt
	bridge.Failed = failed
	bridge.DType = DType.native
	bridge.Count = func(n int64) { liveTensors.Add(n) }
}
