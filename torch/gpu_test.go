package torch_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/torchtest"
)

// These tests need a GPU; elsewhere each skips with a line that says why. What they call with cuda:0 is called with the
// CPU by a test beside, so that it is known to work.

// Kernels on a GPU are others than the CPU's: sums of up to some hundred float32 terms about 1 in another order, fused
// multiply-adds, other series for functions, convolutions by Winograd's transform. That is a few 1e-5; a wrong kernel
// is wrong by far more.
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
	compareOperators(t, torchtest.GPU(t), notOnGPU, gpuRTol, gpuATol)
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

func TestQROnGPU(t *testing.T)        { checkQR(t, torchtest.GPU(t)) }
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

func TestMoveToGPU(t *testing.T)        { checkMove(t, torchtest.GPU(t)) }
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
	on := torchtest.GPU(t)
	torchtest.Scoped(t, func() {
		e := caught(t, func() { leaf(1, 2).MulScalar(2).MoveTo(on) })
		assert.ErrorContains(t, e, "only leaves")
	})
}
