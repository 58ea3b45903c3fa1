package finetune

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/cuda"
)

// With "auto" a program takes a GPU that does, or the CPU; one with CUDA can tell why it was not a GPU.
func TestNoGPU(t *testing.T) {
	spec := Spec{Device: "auto"}
	require.NoError(t, spec.ChooseDevice())
	why := NoGPU()
	switch {
	case !cuda.Built():
		assert.NoError(t, why)
		assert.Equal(t, "cpu", spec.Device)
	case torch.CUDA(0).Check() == nil:
		assert.NoError(t, why)
		assert.Equal(t, "cuda:0", spec.Device)
	default:
		assert.Error(t, why)
		assert.NotContains(t, why.Error(), "cuda: devices")
		assert.Equal(t, "cpu", spec.Device)
		asked := Spec{Device: "cuda"}
		assert.ErrorContains(t, asked.ChooseDevice(), why.Error())
	}
}
