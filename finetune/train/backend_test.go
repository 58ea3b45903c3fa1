package train

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/cuda"
)

// With "auto" a program takes a GPU that is usable, or the CPU; one with CUDA can say why it was not a GPU.
func TestNoGPU(t *testing.T) {
	device, _, err := ChooseDevice("auto", "")
	require.NoError(t, err)
	why := NoGPU()
	switch {
	case !cuda.Built():
		assert.NoError(t, why)
		assert.Equal(t, torch.CPU, device)
	case torch.CUDA(0).Check() == nil:
		assert.NoError(t, why)
		assert.Equal(t, torch.CUDA(0), device)
	default:
		assert.Error(t, why)
		assert.NotContains(t, why.Error(), "cuda: devices")
		assert.Equal(t, torch.CPU, device)
		_, _, err := ChooseDevice("cuda", "")
		assert.ErrorContains(t, err, why.Error())
	}
}

func TestChooseDevice(t *testing.T) {
	for _, c := range []struct {
		device, precision string
		want              torch.DType
	}{{"cpu", "float32", torch.Float32}, {"cpu", "bfloat16", torch.BFloat16}} {
		device, precision, err := ChooseDevice(c.device, c.precision)
		require.NoError(t, err)
		assert.Equal(t, torch.CPU, device)
		assert.Equal(t, c.want, precision)
	}
	for _, precision := range []string{"", "auto"} {
		_, chosen, err := ChooseDevice("cpu", precision)
		require.NoError(t, err)
		assert.Equal(t, torch.Float32, chosen, "a run may choose otherwise, once it has tried")
	}
	for _, c := range []struct{ device, precision, option string }{
		{"gpu", "auto", "device"}, {"cuda:x", "auto", "device"}, {"cuda:99", "auto", "device"}, {"cpu", "float8", "precision"},
	} {
		_, _, err := ChooseDevice(c.device, c.precision)
		var fault *DeviceError
		require.ErrorAs(t, err, &fault, "%+v", c)
		assert.Equal(t, c.option, fault.Option)
		assert.Regexp(t, "^"+c.option+": ", err.Error())
	}
}
