package fused_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/cuda"
	"github.com/thaw-ml/thaw/torch/fused"
	"github.com/thaw-ml/thaw/torch/torchtest"
)

// These tests need a GPU; elsewhere each skips with a line that says why. What they call with cuda:0 is called with the
// CPU by a test beside, so that it is known to work.

// Kernels on a GPU are others than the CPU's: sums of up to some hundred float32 terms about 1 in another order, and
// fused multiply-adds. That is a few 1e-5; a wrong kernel is wrong by far more.
const gpuRTol, gpuATol = 1e-4, 1e-4

func TestLinearOnGPU(t *testing.T)        { checkLinear(t, torchtest.GPU(t)) }
func TestLinearOnGPUAsOnCPU(t *testing.T) { checkLinear(t, cpu) }

// checkLinear compares Linear, whose oneDNN kernel is for the CPU alone, and its gradients with Linear's on the
// CPU, at a size where the CPU takes that kernel. The sums have up to 160 terms about 1, of which some are such sums.
func checkLinear(t *testing.T, on torch.Device) {
	torchtest.Scoped(t, func() {
		g := torch.NewGenerator(3)
		draw := func(shape ...int) torch.Tensor { return torch.Randn(g, f32, cpu, shape...) }
		inputs := outs{draw(160, 96), draw(128, 96), draw(128)}
		run := func(on torch.Device, linear func(x, w, b torch.Tensor) torch.Tensor) outs {
			leaves := make(outs, len(inputs))
			for i, x := range inputs {
				leaves[i] = x.ToDevice(on).Detach().RequiresGrad_(true)
			}
			y := linear(leaves[0], leaves[1], leaves[2])
			require.Equal(t, on, y.Device())
			y.Square().Mean().Backward()
			return outs{y.Detach(), leaves[0].Grad(), leaves[1].Grad(), leaves[2].Grad()}
		}
		want := run(cpu, torch.Linear)
		for i, got := range run(on, fused.Linear) {
			torchtest.Close(t, want[i], got.ToDevice(cpu), gpuRTol, gpuATol, "result or gradient ", i)
		}
	})
}

// Under autocast Linear and Fork do what autograd does of itself, but for the gradients of parameters, which are
// not rounded to bfloat16 on their way.
func TestAutocastOnGPU(t *testing.T)        { checkAutocast(t, torchtest.GPU(t)) }
func TestAutocastOnGPUAsOnCPU(t *testing.T) { checkAutocast(t, cpu) }

func checkAutocast(t *testing.T, on torch.Device) {
	torchtest.Scoped(t, func() {
		g := torch.NewGenerator(4)
		inputs := outs{torch.Randn(g, f32, cpu, 4, 40, 96), torch.Randn(g, f32, cpu, 96, 96), torch.Randn(g, f32, cpu, 96)}
		for _, trained := range [][]bool{{true, true, true}, {true, false, false}, {false, true, false}} {
			run := func(linear func(x, w, b torch.Tensor) torch.Tensor, fork func(torch.Tensor) (residual, input torch.Tensor)) outs {
				leaves := make(outs, len(inputs))
				for i, x := range inputs {
					leaves[i] = x.ToDevice(on).Detach().RequiresGrad_(trained[i])
				}
				torch.Autocast(torch.BFloat16, func() {
					residual, input := fork(leaves[0])
					linear(input, leaves[1], leaves[2]).Add(residual).Square().Mean().Backward()
				})
				var got outs
				for i, x := range leaves {
					if trained[i] {
						require.Equal(t, f32, x.Grad().DType())
						got = append(got, x.Grad().ToDevice(cpu))
					}
				}
				return got
			}
			want := run(torch.Linear, func(x torch.Tensor) (a, b torch.Tensor) { return x, x })
			for i, got := range run(fused.Linear, fused.Fork) {
				largest := want[i].Abs().Max().Item()
				torchtest.Close(t, want[i], got, 1e-2, 1e-2*largest, trained, " gradient ", i) // 8 bits of mantissa
			}
		}
	})
}

func TestCastOnGPU(t *testing.T) { checkCast(t, torchtest.GPU(t)) }

func TestShadowParamsOnGPU(t *testing.T) { checkShadowParams(t, torchtest.GPU(t)) }

func TestLinearKeepsNoMoreThanLinearOnGPU(t *testing.T) {
	checkLinearMemory(t, torchtest.GPU(t), func() int64 {
		m, err := cuda.Memory(0)
		require.NoError(t, err)
		return m.Allocated
	})
}

// What autocast does not cast, or is no layer's shape, goes Linear's way.
func TestLinearOfUnusualInputsOnGPU(t *testing.T) {
	on := torchtest.GPU(t)
	torchtest.Scoped(t, func() {
		ones := func(d torch.DType, shape ...int) torch.Tensor { return torch.Ones(d, on, shape...) }
		for name, c := range map[string]struct{ x, w, b torch.Tensor }{
			"weight of one dimension": {ones(f32, 4, 3), ones(f32, 3), torch.Tensor{}},
			"bias a row":              {ones(f32, 4, 3), ones(f32, 5, 3), ones(f32, 4, 5)},
			"bias of one":             {ones(f32, 4, 3), ones(f32, 5, 3), ones(f32, 1)},
			"float64":                 {ones(torch.Float64, 4, 3), ones(f32, 5, 3), torch.Tensor{}},
			"float16":                 {ones(torch.Float16, 4, 3), ones(f32, 5, 3), torch.Tensor{}},
		} {
			c.w.RequiresGrad_(true)
			run := func(linear func(x, w, b torch.Tensor) torch.Tensor) (y torch.Tensor, grad torch.Tensor, err error) {
				err = torch.Try(func() {
					torch.Autocast(torch.BFloat16, func() { y = linear(c.x, c.w, c.b) })
					y.Sum().Backward()
				})
				grad = c.w.Grad()
				c.w.ZeroGrad()
				return y, grad, err
			}
			want, wantGrad, refused := run(torch.Linear)
			got, grad, err := run(fused.Linear)
			require.Equal(t, refused == nil, err == nil, "%s: Linear: %v, Linear: %v", name, refused, err)
			if err == nil {
				torchtest.Close(t, want.To(f32).ToDevice(cpu), got.To(f32).ToDevice(cpu), 0, 0, name)
				torchtest.Close(t, wantGrad.ToDevice(cpu), grad.ToDevice(cpu), 0, 0, name)
			}
		}
	})
}
