package fused_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/fused"
	"github.com/thaw-ml/thaw/torch/torchtest"
)

// TestLinear compares Linear and its gradients with Linear's, above and below the size where oneDNN takes over,
// for 2 and 3 dimensions, sides that are no multiples of a register, views that are not contiguous, and every choice of what requires
// a gradient.
func TestLinear(t *testing.T) {
	defer fused.AlwaysOneDNN(fused.AlwaysOneDNN(true))
	for _, shape := range [][]int{{3, 8}, {160, 96}, {4, 40, 96}, {163, 101}, {5, 33, 77}} {
		for grads := range 8 {
			for _, strided := range []bool{false, true} {
				t.Run(fmt.Sprint(shape, grads, strided), func(t *testing.T) {
					torchtest.Scoped(t, func() { compareLinear(t, shape, grads, strided) })
				})
			}
		}
	}
}

// The layers that train come to the same by the way that is faster on this processor.
func TestLinearByTheFasterWay(t *testing.T) {
	defer fused.AlwaysOneDNN(fused.AlwaysOneDNN(false))
	for grads := range 8 {
		torchtest.Scoped(t, func() { compareLinear(t, []int{4, 40, 96}, grads, false) })
	}
}

// What backward will not read is not kept.
func TestLinearKeepsNoMoreThanLinear(t *testing.T) {
	checkLinearMemory(t, cpu, func() int64 { return torch.Stats().Bytes })
}

func checkLinearMemory(t *testing.T, on torch.Device, used func() int64) {
	const rows, width, layers = 2048, 256, 10
	for _, trained := range []string{"input", "bias", "weights"} {
		held := func(linear func(x, w, b torch.Tensor) torch.Tensor) (bytes int64) {
			torchtest.Scoped(t, func() {
				w := torch.Zeros(f32, on, width, width).RequiresGrad_(trained == "weights")
				b := torch.Zeros(f32, on, width).RequiresGrad_(trained == "bias")
				x := torch.Zeros(f32, on, rows, width).RequiresGrad_(trained == "input")
				before := used()
				forward := func() {
					y := x
					for range layers {
						next := linear(y, w, b)
						if y != x {
							y.Close()
						}
						y = next
					}
				}
				if on == cpu {
					forward()
				} else {
					torch.Autocast(torch.BFloat16, forward)
				}
				bytes = used() - before
			})
			return bytes
		}
		plain, fast := held(torch.Linear), held(fused.Linear)
		assert.LessOrEqual(t, fast, plain+plain/10, trained)
	}
}

// Biases of other shapes than [out] go Linear's way.
func TestLinearOfUnusualBiases(t *testing.T) {
	for _, shape := range [][]int{{128}, {1}, {160, 128}, {1, 128}} {
		torchtest.Scoped(t, func() {
			g := torch.NewGenerator(3)
			x, w := torch.Randn(g, f32, cpu, 160, 96), torch.Randn(g, f32, cpu, 128, 96)
			b := torch.Randn(g, f32, cpu, shape...).RequiresGrad_(true)
			y := fused.Linear(x, w, b)
			torchtest.Close(t, torch.Linear(x, w, b), y, 1e-4, 1e-4, shape)
			y.Sum().Backward()
			require.Equal(t, shape, b.Grad().Shape())
		})
	}
}

func compareLinear(t *testing.T, shape []int, grads int, strided bool) {
	g := torch.NewGenerator(3)
	in := shape[len(shape)-1]
	draw := func(shape ...int) torch.Tensor { return torch.Randn(g, torch.Float32, torch.CPU, shape...) }
	x, weight, bias := draw(shape...), draw(128, in), draw(128)
	if strided {
		x, weight = x.Transpose(0, -1).Contiguous().Transpose(0, -1), weight.T().Contiguous().T()
	}
	type outcome struct{ y, gelu, dx, dw, db torch.Tensor }
	run := func(linear, gelu func(x, w, b torch.Tensor) torch.Tensor) (o outcome) {
		leaf := func(v torch.Tensor, bit int) torch.Tensor { return v.Detach().RequiresGrad_(grads&bit != 0) }
		x, weight, bias := leaf(x, 1), leaf(weight, 2), leaf(bias, 4)
		o.y = linear(x, weight, bias)
		o.gelu = gelu(x, weight, bias)
		if grads != 0 {
			o.y.Square().Mean().Add(o.gelu.Sum()).Backward()
		}
		o.dx, o.dw, o.db = x.Grad(), weight.Grad(), bias.Grad()
		return o
	}
	want := run(torch.Linear, func(x, w, b torch.Tensor) torch.Tensor { return torch.Linear(x, w, b).GELU() })
	got := run(fused.Linear, fused.LinearGELU)
	// Sums of 96 products of standard normals, and of 160 of those, in another order: 1e-4 is far above float32's noise
	// and far below any term.
	for _, c := range []struct {
		name      string
		want, got torch.Tensor
	}{{"y", want.y, got.y}, {"gelu", want.gelu, got.gelu}, {"dx", want.dx, got.dx}, {"dw", want.dw, got.dw}, {"db", want.db, got.db}} {
		require.Equal(t, c.want.Defined(), c.got.Defined(), c.name)
		if c.want.Defined() {
			torchtest.Close(t, c.want, c.got, 1e-4, 1e-4, c.name)
		}
	}
}

func TestLinearWithoutBias(t *testing.T) {
	torchtest.Scoped(t, func() {
		g := torch.NewGenerator(5)
		x, w := torch.Randn(g, torch.Float32, torch.CPU, 200, 96), torch.Randn(g, torch.Float32, torch.CPU, 128, 96)
		torchtest.Close(t, torch.Linear(x, w, torch.Tensor{}), fused.Linear(x, w, torch.Tensor{}), 1e-4, 1e-4)
	})
}

func TestLinearErrors(t *testing.T) {
	torchtest.Scoped(t, func() {
		err := torch.Try(func() {
			fused.Linear(torch.Ones(torch.Float32, torch.CPU, 4, 3), torch.Ones(torch.Float32, torch.CPU, 5, 2), torch.Tensor{})
		})
		require.ErrorContains(t, err, "linear: mat1 and mat2 shapes cannot be multiplied")
		require.ErrorContains(t, err, "float32 [4, 3]")
	})
}
