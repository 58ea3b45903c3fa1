package optim_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/optim"
	"github.com/thaw-ml/thaw/torch/torchtest"
)

// tolerances by dtype, relative to 1 + |parameter|. The goldens are float64 from PyTorch's unfused loop: in float64 the
// fused kernel differs only in the order of a few multiplications. In float32 each of the 30 steps rounds once more, by
// 6e-8 of the parameter and of the step.
var tolerances = map[torch.DType]float64{torch.Float64: 1e-13, torch.Float32: 2e-6}

func TestThirtySteps(t *testing.T) {
	g := read(t)
	require.Len(t, g.Runs, 13)
	require.Len(t, g.Grads, 30)
	for k, run := range g.Runs {
		for dtype, tolerance := range tolerances {
			t.Run(fmt.Sprint(run.Optimizer, " ", run.Name, " ", dtype), func(t *testing.T) {
				torchtest.Scoped(t, func() { thirtySteps(t, g, k, dtype, tolerance, false) })
			})
			if dtype == torch.Float32 && run.Options.Dampening == 0 {
				t.Run(fmt.Sprint(run.Optimizer, " ", run.Name, " with rates in a tensor"), func(t *testing.T) {
					torchtest.Scoped(t, func() { thirtySteps(t, g, k, dtype, tolerance, true) })
				})
			}
		}
	}
}

func thirtySteps(t *testing.T, g golden, k int, dtype torch.DType, tolerance float64, inTensor bool) {
	run := g.Runs[k]
	params := make([]torch.Tensor, len(g.Start))
	for i, s := range g.Start {
		params[i] = s.Tensor(t).To(dtype).Clone().RequiresGrad_(true)
	}
	var groups []*optim.Group
	for _, from := range run.Groups {
		group := &optim.Group{LR: from.LR, WeightDecay: from.WeightDecay}
		for _, i := range from.Params {
			group.Params = append(group.Params, params[i])
		}
		groups = append(groups, group)
	}
	o := run.Options
	var rates torch.Tensor
	if inTensor {
		rates = torch.Zeros(torch.Float32, torch.CPU, len(groups))
	}
	var optimizer optim.Optimizer
	if run.Optimizer == "SGD" {
		optimizer = optim.NewSGD(optim.SGDOptions{Momentum: o.Momentum, Dampening: o.Dampening, Nesterov: o.Nesterov, Rates: rates}, groups...)
	} else {
		optimizer = optim.NewAdamW(optim.AdamWOptions{Beta1: o.Betas[0], Beta2: o.Betas[1], Eps: o.Eps, AMSGrad: o.AMSGrad, Rates: rates}, groups...)
	}
	defer optimizer.Close()
	after := run.After.Tensor(t)
	worst := 0.0
	for step, grads := range g.Grads {
		for i, grad := range grads {
			if grad != nil {
				params[i].SetGrad(grad.Tensor(t).To(dtype))
			}
		}
		for i, group := range optimizer.Groups() {
			group.LR = run.Groups[i].LR * run.Schedule[step]
			if inTensor {
				rates.Select(0, i).Fill_(group.LR)
				group.LR = math.NaN() // is not read
			}
		}
		optimizer.Step()
		optimizer.ZeroGrad()
		want := torch.ToSlice[float64](after.Select(0, step))
		for i, p := range params {
			require.False(t, p.Grad().Defined())
			for _, got := range torch.ToSlice[float64](p.Detach().To(torch.Float64)) {
				worst = max(worst, math.Abs(got-want[0])/(1+math.Abs(want[0])))
				require.LessOrEqual(t, worst, tolerance, "step %d, parameter %d: %v, want %v", step, i, got, want[0])
				want = want[1:]
			}
		}
		require.Empty(t, want)
	}
	t.Logf("largest difference %.1e", worst)
}

func TestOptimizerStateOutlivesScopesAndIsFreed(t *testing.T) {
	for name, make := range map[string]func(*optim.Group) optim.Optimizer{
		"AdamW":   func(g *optim.Group) optim.Optimizer { return optim.NewAdamW(optim.AdamWOptions{}, g) },
		"AMSGrad": func(g *optim.Group) optim.Optimizer { return optim.NewAdamW(optim.AdamWOptions{AMSGrad: true}, g) },
		"SGD":     func(g *optim.Group) optim.Optimizer { return optim.NewSGD(optim.SGDOptions{Momentum: 0.9}, g) },
	} {
		t.Run(name, func(t *testing.T) {
			p := torch.NewParam(func() torch.Tensor { return torch.Ones(torch.Float32, torch.CPU, 3).RequiresGrad_(true) })
			defer p.Close()
			before := torch.Stats().Tensors
			o := make(&optim.Group{Params: []torch.Tensor{p}, LR: 0.1, WeightDecay: 0.1})
			state := map[string]int64{"AdamW": 3, "AMSGrad": 4, "SGD": 1}[name]
			for range 3 {
				torch.Scoped(func() {
					p.MulScalar(2).Sum().Backward()
					o.Step()
					o.ZeroGrad()
				})
				require.Equal(t, before+state, torch.Stats().Tensors)
			}
			torch.Scoped(func() { require.False(t, p.Grad().Defined()) })
			o.Step() // without any gradient nothing moves
			values := torch.ToSlice[float32](p)
			require.Equal(t, values[0], values[2])
			require.Less(t, values[0], float32(1))
			o.Close()
			o.Close()
			require.Equal(t, before, torch.Stats().Tensors)
			torch.Scoped(func() { // closed, it starts anew
				p.Sum().Backward()
				o.Step()
				o.ZeroGrad()
			})
			o.Close()
			require.Equal(t, before, torch.Stats().Tensors)
		})
	}
}

// Steps move parameters in place without autograd noticing.
func TestStepIsNotRecorded(t *testing.T) {
	torchtest.Scoped(t, func() {
		p := torch.Ones(torch.Float32, torch.CPU, 2).RequiresGrad_(true)
		o := optim.NewSGD(optim.SGDOptions{}, &optim.Group{Params: []torch.Tensor{p}, LR: 0.5})
		defer o.Close()
		p.Sum().Backward()
		o.Step()
		assert.True(t, p.IsLeaf() && p.RequiresGrad())
		assert.Equal(t, []float32{0.5, 0.5}, torch.ToSlice[float32](p))
		assert.True(t, torch.GradEnabled())
	})
}

func TestClipGradNormIsPyTorchs(t *testing.T) {
	g := read(t)
	require.Len(t, g.Clips, 13)
	for _, c := range g.Clips {
		t.Run(c.Name, func(t *testing.T) {
			torchtest.Scoped(t, func() {
				var params []torch.Tensor
				for _, s := range c.Grads {
					p := torch.Zeros(torch.Float32, torch.CPU, 2)
					if s != nil {
						p = s.Tensor(t).ZerosLike()
						p.SetGrad(s.Tensor(t))
					}
					params = append(params, p)
				}
				norm := optim.ClipGradNorm(params, c.Max)
				assert.Equal(t, []int{}, norm.Shape())
				near(t, c.Norm.Tensor(t), norm, "norm")
				for i, s := range c.Clipped {
					require.Equal(t, s != nil, params[i].Grad().Defined())
					if s != nil {
						near(t, s.Tensor(t), params[i].Grad(), "gradient %d", i)
					}
				}
			})
		})
	}
}

// near is equality up to a few steps of float32, NaN being equal to NaN.
func near(t *testing.T, want, got torch.Tensor, msg string, args ...any) {
	t.Helper()
	a, b := torch.ToSlice[float32](want), torch.ToSlice[float32](got)
	require.Equal(t, len(a), len(b))
	for i := range a {
		w, g := float64(a[i]), float64(b[i])
		same := w == g || math.IsNaN(w) && math.IsNaN(g) || math.Abs(w-g) <= 5e-7*math.Abs(w)
		assert.True(t, same, "%s: element %d is %v, want %v", fmt.Sprintf(msg, args...), i, g, w)
	}
}

func TestClipGradNormWithoutGradients(t *testing.T) {
	torchtest.Scoped(t, func() {
		assert.False(t, optim.ClipGradNorm(nil, 1).Defined())
		assert.False(t, optim.ClipGradNorm([]torch.Tensor{torch.Ones(torch.Float32, torch.CPU, 2)}, 1).Defined())
	})
}

func TestClipGradNormOutsideAScope(t *testing.T) {
	p := torch.Ones(torch.Float32, torch.CPU, 4)
	grad := torch.Ones(torch.Float32, torch.CPU, 4)
	p.SetGrad(grad)
	grad.Close()
	before := torch.Stats().Tensors
	norm := optim.ClipGradNorm([]torch.Tensor{p}, 1)
	assert.Equal(t, 2.0, norm.Item())
	assert.Equal(t, before+1, torch.Stats().Tensors, "only the norm is the caller's to close")
	norm.Close()
	p.Close()
}

// Where memory runs short while the state is made, what was made is freed.
func TestOptimizersWithoutRoomLeaveNothing(t *testing.T) {
	for name, make := range map[string]func(rates torch.Tensor, g *optim.Group){
		"AdamW": func(rates torch.Tensor, g *optim.Group) { optim.NewAdamW(optim.AdamWOptions{Rates: rates}, g) },
		"SGD": func(rates torch.Tensor, g *optim.Group) {
			optim.NewSGD(optim.SGDOptions{Momentum: 0.9, Rates: rates}, g)
		},
	} {
		t.Run(name, func(t *testing.T) {
			torchtest.Scoped(t, func() {
				rates := torch.Zeros(torch.Float32, torch.CPU, 1)
				fits := torch.Zeros(torch.Float32, torch.CPU, 3)
				huge := torch.Zeros(torch.Float32, torch.CPU, 1).Expand(1 << 50) // one number, seen often
				before := torch.Stats().Tensors
				require.ErrorContains(t, torch.Try(func() { make(rates, &optim.Group{Params: []torch.Tensor{fits, huge}}) }), "memory")
				require.Equal(t, before, torch.Stats().Tensors)
			})
		})
	}
}
