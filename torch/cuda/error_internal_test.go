package cuda

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/internal/capi"
)

// What libtorch 2.11 says for each, word for word (c10/cuda/CUDAException.cpp, ATen/native/cuda/Copy.cu).
func TestCaptureErrors(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"waits": {&torch.Error{Op: "aten::_local_scalar_dense", Msg: "CUDA error: operation not permitted when stream is capturing"},
			"cuda: graph capture: the function waits for the device (Item, ToSlice, a copy to the CPU, a shape that depends on values, printing): take that out of it" +
				" (aten::_local_scalar_dense: CUDA error: operation not permitted when stream is capturing)"},
		"copies": {&torch.Error{Op: "aten::copy_", Msg: "Cannot copy between CPU and CUDA tensors during CUDA graph capture unless the CPU tensor is pinned. Please use tensor.pin_memory() or allocate the tensor with pin_memory=True."},
			"cuda: graph capture: the function copies between the CPU and the device: read results (Item, ToSlice, printing) after a replay; make constants before, on the device; fill inputs from PinMemory with CopyAsync_" +
				" (aten::copy_: Cannot copy between CPU and CUDA tensors during CUDA graph capture unless the CPU tensor is pinned. Please use tensor.pin_memory() or allocate the tensor with pin_memory=True.)"},
		"invalidated": {&capi.Error{Msg: "CUDA error: operation failed due to a previous error during capture"},
			"cuda: graph capture: something in the function cannot be captured, and its error was passed over (CUDA error: operation failed due to a previous error during capture)"},
		"other": {&capi.Error{Msg: "CUDA error: out of memory"}, "cuda: graph capture: CUDA error: out of memory"},
	} {
		t.Run(name, func(t *testing.T) { assert.EqualError(t, captureError(c.err), c.want) })
	}
}

func TestWrap(t *testing.T) {
	assert.NoError(t, wrap("memory", nil))
	err := wrap("memory", &capi.Error{Msg: "no"})
	assert.EqualError(t, err, "cuda: memory: no")
	var e *Error
	assert.True(t, errors.As(err, &e) && e.Op == "memory")
}
