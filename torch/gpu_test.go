package torch_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/cuda"
	"github.com/thaw-ml/thaw/torch/torchtest"
)

// These tests need a GPU; elsewhere each skips with a line that says why. What they call with cuda:0 is called with the
// CPU by a test beside, so that it is known to work.

// needGPU gives the first GPU with float32 products in float32, or skips the test.
func needGPU(t testing.TB) torch.Device {
	t.Helper()
	if err := cuda.Check(); err != nil {
		t.Skipf("needs a GPU: %v", err)
	}
	before, err := cuda.CurrentSettings()
	require.NoError(t, err)
	require.NoError(t, cuda.Settings{}.Apply())
	t.Cleanup(func() { require.NoError(t, before.Apply()) })
	return torch.CUDA(0)
}

// Kernels on a GPU are others than the CPU's: sums of up to some hundred float32 terms about 1 in another order, fused
// multiply-adds, other series for functions, convolutions by Winograd's transform. That is a few 1e-5; a wrong kernel is
// wrong by far more.
const gpuRTol, gpuATol = 1e-4, 1e-4

const (
	otherNumbers = "a GPU's generator is Philox: other numbers than the CPU's for a seed"
	onCPUOnly    = "for tensors on the CPU"
	freeSigns    = "the signs of the columns are free: see TestQROnGPU"
)

// notOnGPU are the cases whose results cannot be the CPU's.
var notOnGPU = map[string]string{
	"RandLike": otherNumbers, "RandnLike": otherNumbers, "Rand": otherNumbers, "Randn": otherNumbers,
	"Randint": otherNumbers, "Randperm": otherNumbers, "Normal_": otherNumbers, "Uniform_": otherNumbers,
	"Bernoulli_": otherNumbers, "Bernoulli": otherNumbers, "Multinomial": otherNumbers,
	"Dropout": otherNumbers, "NativeDropout": otherNumbers, "FeatureDropout": otherNumbers,
	"PinMemory": onCPUOnly,
	"LinalgQR":  freeSigns,
}

func TestOperatorsOnGPU(t *testing.T) {
	compareOperators(t, needGPU(t), notOnGPU, gpuRTol, gpuATol)
}

// What is left out exists, and what runs on the GPU also runs this way on the CPU.
func TestOperatorsOnGPUAsOnCPU(t *testing.T) {
	for name := range notOnGPU {
		found := false
		for _, table := range opCases {
			found = found || table[name] != nil
		}
		assert.True(t, found, "no case is named %s", name)
	}
	compareOperators(t, cpu, notOnGPU, gpuRTol, gpuATol)
}

func TestQROnGPU(t *testing.T)        { checkQR(t, needGPU(t)) }
func TestQROnGPUAsOnCPU(t *testing.T) { checkQR(t, cpu) }

// checkQR looks whether Q R is the matrix, Q's columns are orthonormal, and R is triangular.
func checkQR(t *testing.T, on torch.Device) {
	torchtest.Scoped(t, func() {
		m := torch.Randn(torch.NewGenerator(5), f32, cpu, 6, 4).ToDevice(on)
		q, r := torch.LinalgQR(m, "reduced")
		require.Equal(t, on, q.Device())
		torchtest.Close(t, m.ToDevice(cpu), q.MM(r).ToDevice(cpu), gpuRTol, gpuATol, "Q R")
		torchtest.Close(t, torch.Eye(4, f32, cpu), q.T().MM(q).ToDevice(cpu), gpuRTol, gpuATol, "Q'Q")
		torchtest.Close(t, r.Triu(0).ToDevice(cpu), r.ToDevice(cpu), 0, 0, "R")
	})
}

func TestFastLinearOnGPU(t *testing.T)        { checkFastLinear(t, needGPU(t)) }
func TestFastLinearOnGPUAsOnCPU(t *testing.T) { checkFastLinear(t, cpu) }

// checkFastLinear compares FastLinear, whose oneDNN kernel is for the CPU alone, and its gradients with Linear's on the
// CPU, at a size where the CPU takes that kernel. The sums have up to 160 terms about 1, of which some are such sums.
func checkFastLinear(t *testing.T, on torch.Device) {
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
		for i, got := range run(on, torch.FastLinear) {
			torchtest.Close(t, want[i], got.ToDevice(cpu), gpuRTol, gpuATol, "result or gradient ", i)
		}
	})
}

// Under autocast FastLinear and AutocastFork do what autograd does of itself, but for the gradients of parameters, which are
// not rounded to bfloat16 on their way.
func TestAutocastOnGPU(t *testing.T)        { checkAutocast(t, needGPU(t)) }
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
			for i, got := range run(torch.FastLinear, torch.AutocastFork) {
				largest := want[i].Abs().Max().Item()
				torchtest.Close(t, want[i], got, 1e-2, 1e-2*largest, trained, " gradient ", i) // 8 bits of mantissa
			}
		}
	})
}

func TestHalvesOnGPU(t *testing.T) { checkHalves(t, needGPU(t)) }

func TestFastLinearKeepsNoMoreThanLinearOnGPU(t *testing.T) {
	checkFastLinearMemory(t, needGPU(t), func() int64 {
		m, err := cuda.Memory(0)
		require.NoError(t, err)
		return m.Allocated
	})
}

// What autocast does not cast, or is no layer's shape, goes Linear's way.
func TestFastLinearOfUnusualInputsOnGPU(t *testing.T) {
	on := needGPU(t)
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
			got, grad, err := run(torch.FastLinear)
			require.Equal(t, refused == nil, err == nil, "%s: Linear: %v, FastLinear: %v", name, refused, err)
			if err == nil {
				torchtest.Close(t, want.To(f32).ToDevice(cpu), got.To(f32).ToDevice(cpu), 0, 0, name)
				torchtest.Close(t, wantGrad.ToDevice(cpu), grad.ToDevice(cpu), 0, 0, name)
			}
		}
	})
}

func TestMoveToGPU(t *testing.T)        { checkMove(t, needGPU(t)) }
func TestMoveToGPUAsOnCPU(t *testing.T) { checkMove(t, cpu) }

// checkMove takes parameters and a buffer to a device and back.
func checkMove(t *testing.T, to torch.Device) {
	torchtest.Scoped(t, func() {
		values := torch.Randn(torch.NewGenerator(2), f32, cpu, 33, 7)
		weight := values.Clone().RequiresGrad_(true)
		half := values.To(torch.BFloat16).RequiresGrad_(true)
		count := torch.FromSlice([]int64{1 << 40, -3})
		copied := weight
		all := outs{weight, half, count}
		weight.Sum().Backward()
		for _, x := range all {
			x.MoveTo(to)
			require.Equal(t, to, x.Device())
		}
		assert.Equal(t, to, copied.Device(), "every copy of the Tensor moves")
		if to != cpu {
			assert.False(t, copied.Grad().Defined(), "the gradient is dropped")
		}
		weight.ZeroGrad()
		assert.True(t, copied.RequiresGrad() && half.RequiresGrad() && weight.IsLeaf() && half.IsLeaf())
		assert.False(t, count.RequiresGrad())

		// It trains there: the gradient lies there too.
		weight.Square().Sum().Backward()
		require.True(t, weight.Grad().Defined())
		assert.Equal(t, to, weight.Grad().Device())
		torchtest.Close(t, values.MulScalar(2), weight.Grad().ToDevice(cpu), 0, 0, "gradient")
		weight.ZeroGrad()

		for _, x := range all {
			x.MoveTo(cpu)
			require.Equal(t, cpu, x.Device())
		}
		assert.True(t, weight.RequiresGrad() && half.RequiresGrad())
		bits := func(x torch.Tensor, as torch.DType) torch.Tensor { return x.Detach().ViewDType(as) }
		assert.True(t, bits(values, torch.Int32).Equal(bits(weight, torch.Int32)), "the bits of float32")
		assert.True(t, bits(values.To(torch.BFloat16), torch.Int16).Equal(bits(half, torch.Int16)), "the bits of bfloat16")
		assert.Equal(t, []int64{1 << 40, -3}, torch.ToSlice[int64](count))
	})
}

// What an operator made cannot move, for what is recorded of it stays behind.
func TestOnlyLeavesMoveToGPU(t *testing.T) {
	on := needGPU(t)
	torchtest.Scoped(t, func() {
		e := caught(t, func() { leaf(1, 2).MulScalar(2).MoveTo(on) })
		assert.ErrorContains(t, e, "only leaves")
	})
}
