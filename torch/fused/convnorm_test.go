package fused_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	cpufeatures "golang.org/x/sys/cpu"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/fused"
	"github.com/thaw-ml/thaw/torch/torchtest"
)

// foldedCase is a convolution with a norm behind it.
type foldedCase struct {
	shape                  []int
	out, kernel            int
	stride, padding        int
	groups                 int
	biased, shortcut, relu bool
	last                   bool // channels-last
}

func (c foldedCase) String() string { return fmt.Sprintf("%+v", struct{ foldedCase }{c}) }

// run gives what layers one by one come to in float64, and what they come to in one.
func (c foldedCase) run(t *testing.T, f func(func())) (want, got torch.Tensor) {
	g := torch.NewGenerator(3)
	draw := func(shape ...int) torch.Tensor { return torch.Empty(f32, cpu, shape...).Normal_(0, 1, g) }
	x, w := draw(c.shape...), draw(c.out, c.shape[1]/c.groups, c.kernel, c.kernel).MulScalar(0.1)
	n := fused.Norm{Weight: draw(c.out), Bias: draw(c.out), Mean: draw(c.out), Var: draw(c.out).Abs().AddScalar(0.1), Eps: 1e-3}
	var bias, shortcut torch.Tensor
	if c.biased {
		bias = draw(c.out)
	}
	pair := func(n int) [2]int { return [2]int{n, n} }
	double := func(x torch.Tensor) torch.Tensor {
		if !x.Defined() {
			return x
		}
		return x.To(torch.Float64)
	}
	want = torch.Conv2d(double(x), double(w), double(bias), []int{c.stride, c.stride}, []int{c.padding, c.padding}, []int{1, 1}, c.groups)
	want = torch.BatchNorm(want, double(n.Weight), double(n.Bias), double(n.Mean), double(n.Var), false, 0.1, n.Eps, false)
	if c.shortcut {
		shortcut = draw(want.Shape()...)
		want = want.Add(double(shortcut))
	}
	if c.relu {
		want = want.ReLU()
	}
	if c.last {
		x, w = x.ContiguousAs(torch.ChannelsLast), w.ContiguousAs(torch.ChannelsLast)
		if c.shortcut {
			shortcut = shortcut.ContiguousAs(torch.ChannelsLast)
		}
	}
	var ok bool
	torch.NoGrad(func() {
		f(func() {
			got, ok = fused.ConvNorm(x, w, bias, n, shortcut, c.relu, pair(c.stride), pair(c.padding), pair(1), c.groups)
		})
	})
	if !ok {
		return want, torch.Tensor{}
	}
	require.Equal(t, want.Shape(), got.Shape())
	if c.last {
		require.False(t, got.IsContiguous(), "channels-last stays so")
	}
	return want, got
}

// A norm within a convolution is the norm behind it: in float32 but for rounding, also by Winograd's filtering; in bfloat16 by its 8 bits.
func TestConvNorm(t *testing.T) {
	var cases []foldedCase
	for _, last := range []bool{true, false} {
		for i, c := range []foldedCase{
			{shape: []int{3, 64, 20, 19}, out: 64, kernel: 3, stride: 1, padding: 1, groups: 1},
			{shape: []int{3, 64, 20, 19}, out: 128, kernel: 1, stride: 1, groups: 1},
			{shape: []int{11, 64, 20, 19}, out: 128, kernel: 1, stride: 2, groups: 1},
			{shape: []int{4, 32, 33, 33}, out: 64, kernel: 3, stride: 2, padding: 1, groups: 4},
			{shape: []int{3, 3, 40, 40}, out: 64, kernel: 7, stride: 2, padding: 3, groups: 1},
		} {
			for k := range 4 {
				c.biased, c.shortcut, c.relu, c.last = (i+k)%2 == 0, k >= 2, k%2 == 1, last
				cases = append(cases, c)
			}
		}
	}
	for _, when := range []fused.Winograd{fused.WinogradNever, fused.WinogradAlways} {
		winograd(t, when)
		for _, c := range cases {
			torchtest.Scoped(t, func() {
				want, got := c.run(t, func(f func()) { f() })
				require.True(t, got.Defined())
				assert.Equal(t, f32, got.DType())
				assert.Less(t, apart(got, want), 5e-6, "%v, Winograd %d", c, when)
				want, got = c.run(t, func(f func()) { torch.Autocast(torch.BFloat16, f) })
				if !cpufeatures.X86.HasAVX512BW || !cpufeatures.X86.HasAVX512VL || !cpufeatures.X86.HasAVX512DQ {
					require.False(t, got.Defined(), "oneDNN has no such convolution for this processor")
					return
				}
				assert.Equal(t, torch.BFloat16, got.DType())
				assert.Less(t, apart(got, want), 1e-2, "%v in bfloat16", c)
			})
		}
	}
}

// Where something is recorded, on other dtypes and where it is off, nothing is done.
func TestConvNormIsNotThere(t *testing.T) {
	torchtest.Scoped(t, func() {
		ones := func(shape ...int) torch.Tensor { return torch.Ones(f32, cpu, shape...) }
		x, w := ones(1, 4, 32, 32), ones(4, 4, 1, 1)
		n := fused.Norm{Weight: ones(4), Bias: ones(4), Mean: ones(4), Var: ones(4), Eps: 1e-5}
		is := func() bool {
			_, ok := fused.ConvNorm(x, w, torch.Tensor{}, n, torch.Tensor{}, false, [2]int{1, 1}, [2]int{}, [2]int{1, 1}, 1)
			return ok
		}
		assert.True(t, is(), "nothing requires a gradient")
		n.Weight.RequiresGrad_(true)
		assert.False(t, is(), "the norm is trained")
		torch.NoGrad(func() { assert.True(t, is()) })
		assert.True(t, fused.FoldNorms(false))
		torch.NoGrad(func() { assert.False(t, is()) })
		assert.False(t, fused.FoldNorms(true))
		small := x.Narrow(2, 0, 31)
		x, small = small, x
		torch.NoGrad(func() { assert.False(t, is(), "too little to gain") })
		x = small.To(torch.Float64)
		torch.NoGrad(func() { assert.False(t, is()) })
	})
}
