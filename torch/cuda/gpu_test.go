package cuda_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/cuda"
	"github.com/thaw-ml/thaw/torch/torchtest"
)

// These tests and those of *_gpu_test.go need a GPU; elsewhere each skips with a line that says why.

const f32 = torch.Float32

var (
	cpu = torch.CPU
	gpu = torch.CUDA(0)
)

// setting applies settings until the test ends.
func setting(t testing.TB, s cuda.Settings) {
	t.Helper()
	before, err := cuda.CurrentSettings()
	require.NoError(t, err)
	require.NoError(t, s.Apply())
	t.Cleanup(func() { require.NoError(t, before.Apply()) })
}

func floats(x torch.Tensor) []float32 { return torch.ToSlice[float32](x) }

// random gives numbers on the CPU that depend on the seed only.
func random(seed uint64, size ...int) torch.Tensor {
	return torch.Randn(torch.NewGenerator(seed), f32, cpu, size...)
}

func TestDevices(t *testing.T) {
	needGPU(t)
	devices, err := cuda.Devices()
	require.NoError(t, err)
	require.NotEmpty(t, devices)
	for i, d := range devices {
		t.Logf("%+v", d)
		assert.Equal(t, i, d.Index)
		assert.NotEmpty(t, d.Name)
		assert.Greater(t, d.TotalMemory, int64(1)<<30)
		assert.GreaterOrEqual(t, d.ComputeCapability.Major, 7)
		assert.Positive(t, d.Multiprocessors)
		assert.NoError(t, torch.SelfTest(torch.CUDA(i)))
		assert.NoError(t, cuda.SelfTest(i))
	}
	assert.True(t, torch.CUDAAvailable())
	assert.NoError(t, gpu.Check())
	assert.ErrorContains(t, torch.CUDA(len(devices)).Check(), "there is no CUDA device")
	assert.ErrorContains(t, cuda.WithDevice(len(devices), func() { t.Error("it ran") }), "numbered from 0")
	var on torch.Device
	require.NoError(t, cuda.WithDevice(len(devices)-1, func() {
		torch.Scoped(func() { on = torch.Zeros(f32, torch.CUDA(cuda.Current), 1).Device() })
	}))
	assert.Equal(t, torch.CUDA(len(devices)-1), on)
}

func TestSettings(t *testing.T) {
	needGPU(t)
	for _, want := range []cuda.Settings{{TF32: true}, {ConvTF32: true}, {CuDNNAttention: true}, {Benchmark: true}, {Deterministic: true}, {}} {
		setting(t, want)
		got, err := cuda.CurrentSettings()
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
}

// Operators, and their gradients, against the CPU. The tolerances are for sums of up to 288 products of numbers about 1
// in float32, taken in another order.
func TestOperatorsAgainstCPU(t *testing.T) {
	needGPU(t)
	setting(t, cuda.Settings{})
	for name, c := range map[string]struct {
		inputs []torch.Tensor
		f      func(x []torch.Tensor) torch.Tensor
	}{
		"add": {[]torch.Tensor{random(1, 64, 33), random(2, 33)},
			func(x []torch.Tensor) torch.Tensor { return x[0].Add(x[1]) }},
		"mm": {[]torch.Tensor{random(1, 65, 130), random(2, 130, 67)},
			func(x []torch.Tensor) torch.Tensor { return x[0].MM(x[1]) }},
		"linear": {[]torch.Tensor{random(1, 4, 9, 64), random(2, 48, 64), random(3, 48)},
			func(x []torch.Tensor) torch.Tensor { return torch.Linear(x[0], x[1], x[2]) }},
		"conv2d": {[]torch.Tensor{random(1, 2, 32, 17, 19), random(2, 40, 32, 3, 3), random(3, 40)},
			func(x []torch.Tensor) torch.Tensor {
				return torch.Conv2d(x[0], x[1], x[2], []int{2, 2}, []int{1, 1}, []int{1, 1}, 1)
			}},
		"layer_norm": {[]torch.Tensor{random(1, 5, 7, 96), random(2, 96), random(3, 96)},
			func(x []torch.Tensor) torch.Tensor { return torch.LayerNorm(x[0], []int{96}, x[1], x[2], 1e-12) }},
		"gelu":    {[]torch.Tensor{random(1, 1000)}, func(x []torch.Tensor) torch.Tensor { return x[0].GELU() }},
		"softmax": {[]torch.Tensor{random(1, 12, 128)}, func(x []torch.Tensor) torch.Tensor { return x[0].Softmax(-1) }},
		"mean":    {[]torch.Tensor{random(1, 100, 100)}, func(x []torch.Tensor) torch.Tensor { return x[0].Mean() }},
		"attention": {[]torch.Tensor{random(1, 2, 3, 16, 32), random(2, 2, 3, 16, 32), random(3, 2, 3, 16, 32)},
			func(x []torch.Tensor) torch.Tensor {
				return torch.ScaledDotProductAttention(x[0], x[1], x[2], torch.Tensor{}, 0, false)
			}},
	} {
		t.Run(name, func(t *testing.T) {
			torchtest.Scoped(t, func() {
				var want []torch.Tensor
				for _, device := range []torch.Device{cpu, gpu} {
					leaves := make([]torch.Tensor, len(c.inputs))
					for i, x := range c.inputs {
						leaves[i] = x.ToDevice(device).Detach().RequiresGrad_(true)
					}
					y := c.f(leaves)
					require.Equal(t, device, y.Device())
					// Square: gradients that differ from element to element.
					got := append([]torch.Tensor{y.Detach()}, torch.Grad([]torch.Tensor{y.Square().Sum()}, leaves, torch.BackwardOptions{})...)
					if device == cpu {
						want = got
						continue
					}
					for i := range want {
						torchtest.Close(t, want[i], got[i].ToDevice(cpu), 1e-4, 2e-3, name, "result or gradient", i)
					}
				}
			})
		})
		for _, x := range c.inputs {
			x.Close()
		}
	}
}
