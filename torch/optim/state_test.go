package optim_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/torch/optim"
	"github.com/thaw-ml/thaw/torch/torchtest"
)

// mixture is a module whose idle parameter never gets a gradient.
type mixture struct {
	A    *nn.Linear   `torch:"a"`
	B    *nn.Linear   `torch:"b"`
	Idle torch.Tensor `torch:"idle"`
}

func newMixture() *mixture {
	g := torch.NewGenerator(3)
	m := &mixture{nn.NewLinear(3, 4, nn.LinearOptions{}, g), nn.NewLinear(4, 2, nn.LinearOptions{NoBias: true}, g), nn.Constant(1, 2)}
	nn.RequireGrad(m, true)
	return m
}

func (m *mixture) step(o optim.Optimizer, number int) {
	torch.Scoped(func() {
		x := torch.FromSlice([]float32{1, -2, float32(number), 0.5, 3, -1}, 2, 3)
		m.B.Forward(m.A.Forward(x).Tanh()).Square().Sum().Backward()
		o.Step()
		o.ZeroGrad()
	})
}

func (m *mixture) bits() map[string]uint64 {
	out := map[string]uint64{}
	for name, p := range nn.Params(m) {
		out[name] = p.Digest()
	}
	return out
}

var optimizers = map[string]func(rates torch.Tensor, g ...*optim.Group) optim.Optimizer{
	"AdamW": func(r torch.Tensor, g ...*optim.Group) optim.Optimizer {
		return optim.NewAdamW(optim.AdamWOptions{Rates: r}, g...)
	},
	"AMSGrad": func(r torch.Tensor, g ...*optim.Group) optim.Optimizer {
		return optim.NewAdamW(optim.AdamWOptions{AMSGrad: true, Rates: r}, g...)
	},
	"SGD with momentum": func(r torch.Tensor, g ...*optim.Group) optim.Optimizer {
		return optim.NewSGD(optim.SGDOptions{Momentum: 0.9, Nesterov: true, Rates: r}, g...)
	},
	"SGD": func(r torch.Tensor, g ...*optim.Group) optim.Optimizer {
		return optim.NewSGD(optim.SGDOptions{Rates: r}, g...)
	},
	"SGD with dampening": func(r torch.Tensor, g ...*optim.Group) optim.Optimizer {
		o := optim.SGDOptions{Momentum: 0.9, Dampening: 0.5, Rates: r}
		if r.Defined() {
			o.Dampening = 0 // cannot be used with rates in a tensor
		}
		return optim.NewSGD(o, g...)
	},
}

// Ten steps are, bit for bit, five steps, and five more by a new optimizer that has loaded the state of the first.
func TestLoadedStateContinuesBitForBit(t *testing.T) {
	for name, make := range optimizers {
		for _, inTensor := range []bool{false, true} {
			for _, stepsBeforeLoad := range []int{0, 2} {
				t.Run(fmt.Sprint(name, ", rates in a tensor ", inTensor, ", loaded after ", stepsBeforeLoad), func(t *testing.T) {
					torchtest.Scoped(t, func() { continues(t, make, inTensor, stepsBeforeLoad) })
				})
			}
		}
	}
}

func continues(t *testing.T, make func(torch.Tensor, ...*optim.Group) optim.Optimizer, inTensor bool, stepsBeforeLoad int) {
	var rates torch.Tensor
	if inTensor {
		rates = torch.FromSlice([]float32{1e-2, 1e-3})
	}
	start := func(m *mixture) optim.Optimizer {
		a, b := optim.GroupOf(m.A, 1e-2), optim.GroupOf(m.B, 1e-3)
		b.Names[0], b.WeightDecay = "b.weight", 0.1
		b.Params, b.Names = append(b.Params, m.Idle), append(b.Names, "idle")
		return make(rates, a, b)
	}
	m := newMixture()
	defer nn.Close(m)
	first := start(m)
	defer first.Close()
	for i := range 5 {
		m.step(first, i)
	}
	// What a checkpoint would hold.
	var state []torch.Named
	for _, s := range first.State() {
		state = append(state, torch.Named{Name: s.Name, Tensor: s.Tensor.Clone()})
	}
	resumed := newMixture()
	defer nn.Close(resumed)
	second := start(resumed)
	defer second.Close()
	for i := range stepsBeforeLoad {
		resumed.step(second, 10+i)
	}
	copyParams(resumed, m)
	require.Equal(t, m.bits(), resumed.bits())
	require.NoError(t, second.Load(state))
	require.Equal(t, names(first.State()), names(second.State()))
	for i := range 5 {
		m.step(first, 5+i)
		resumed.step(second, 5+i)
	}
	require.Equal(t, m.bits(), resumed.bits())
	for i, s := range first.State() {
		require.Equal(t, s.Tensor.Digest(), second.State()[i].Tensor.Digest(), s.Name)
	}
}

func copyParams(to, from *mixture) {
	torch.NoGrad(func() {
		state := nn.State(from)
		for i, s := range nn.State(to) {
			s.Tensor.Copy_(state[i].Tensor)
		}
	})
}

func names(state []torch.Named) []string {
	var out []string
	for _, s := range state {
		out = append(out, s.Name)
	}
	return out
}

func TestNamesOfState(t *testing.T) {
	m := newMixture()
	defer nn.Close(m)
	twice := func() []*optim.Group { // "weight" is in both groups
		return []*optim.Group{optim.GroupOf(m.A, 1), optim.GroupOf(m.B, 1), {Params: []torch.Tensor{m.Idle}, LR: 1}}
	}
	rates := torch.Zeros(torch.Float32, torch.CPU, 3)
	defer rates.Close()
	for name, want := range map[string][]string{
		"AMSGrad": {
			"0.0.exp_avg", "0.0.exp_avg_sq", "0.0.max_exp_avg_sq", "0.0.step",
			"bias.exp_avg", "bias.exp_avg_sq", "bias.max_exp_avg_sq", "bias.step",
			"1.0.exp_avg", "1.0.exp_avg_sq", "1.0.max_exp_avg_sq", "1.0.step",
			"2.0.exp_avg", "2.0.exp_avg_sq", "2.0.max_exp_avg_sq", "2.0.step",
		},
		"SGD with momentum": {"0.0.momentum_buffer", "bias.momentum_buffer", "1.0.momentum_buffer", "2.0.momentum_buffer"},
		"SGD":               nil,
	} {
		o := optimizers[name](rates, twice()...)
		assert.Equal(t, want, names(o.State()), name)
		o.Close()
		assert.Empty(t, o.State(), name)
	}
	err := torch.Try(func() {
		optim.NewAdamW(optim.AdamWOptions{}, &optim.Group{Params: []torch.Tensor{m.Idle}, Names: []string{"a", "b"}})
	})
	assert.EqualError(t, err, "adamw: group 0 has 2 names for 1 parameters")
}

func TestLoadRefusesStateThatDoesNotFit(t *testing.T) {
	torchtest.Scoped(t, func() {
		m := newMixture()
		defer nn.Close(m)
		o := optim.NewAdamW(optim.AdamWOptions{}, optim.GroupOf(m, 1e-2))
		defer o.Close()
		m.step(o, 1)
		state := func() (out []torch.Named) {
			for _, s := range o.State() {
				out = append(out, torch.Named{Name: s.Name, Tensor: s.Tensor.AddScalar(1)})
			}
			return out
		}
		before := map[string]uint64{}
		for _, s := range o.State() {
			before[s.Name] = s.Tensor.Digest()
		}
		const intro = "the optimizer state does not fit the optimizer: "
		closed := torch.Zeros(torch.Float32, torch.CPU)
		closed.Close()
		for want, change := range map[string]func(s []torch.Named) []torch.Named{
			intro + "1 entries missing (a.weight.exp_avg)": func(s []torch.Named) []torch.Named { return s[1:] },
			intro + "1 entries unexpected (c.momentum_buffer)": func(s []torch.Named) []torch.Named {
				return append(s, torch.Named{Name: "c.momentum_buffer", Tensor: closed})
			},
			`optimizer state: two entries are named "a.weight.exp_avg"`:          func(s []torch.Named) []torch.Named { return append(s, s[0]) },
			intro + "1 entries missing (a.weight.exp_avg); 1 entries unexpected": func(s []torch.Named) []torch.Named { s[0].Name = "x"; return s },
			intro + "1 entries of another shape or dtype (a.weight.exp_avg: float32 [4 3] here, float32 [3 4] in the state)": func(s []torch.Named) []torch.Named {
				s[0].Tensor = s[0].Tensor.Transpose(0, 1)
				return s
			},
			intro + "1 entries of another shape or dtype (a.weight.exp_avg: float32 [4 3] here, float64 [4 3] in the state)": func(s []torch.Named) []torch.Named {
				s[0].Tensor = s[0].Tensor.To(torch.Float64)
				return s
			},
			intro + "1 entries of another shape or dtype (a.weight.exp_avg: undefined)": func(s []torch.Named) []torch.Named { s[0].Tensor = torch.Tensor{}; return s },
			"the tensor was freed already":                                              func(s []torch.Named) []torch.Named { s[0].Tensor = closed; return s },
		} {
			assert.ErrorContains(t, o.Load(change(state())), want)
			for _, s := range o.State() {
				require.Equal(t, before[s.Name], s.Tensor.Digest(), "a state that is refused changes nothing: %s", s.Name)
			}
		}
		require.NoError(t, o.Load(nil))
		assert.Empty(t, o.State(), "without entries the optimizer is as before its first step")
	})
}

// Where memory runs short while the state is loaded, nothing changes and nothing stays behind.
func TestLoadWithoutRoom(t *testing.T) {
	torchtest.Scoped(t, func() {
		fits, huge := torch.Zeros(torch.Float32, torch.CPU, 3), torch.Zeros(torch.Float32, torch.CPU, 1).Expand(1<<50)
		o := optim.NewSGD(optim.SGDOptions{Momentum: 0.9}, &optim.Group{Params: []torch.Tensor{fits, huge}})
		before := torch.Stats().Tensors
		err := o.Load([]torch.Named{{Name: "0.0.momentum_buffer", Tensor: fits}, {Name: "0.1.momentum_buffer", Tensor: huge}})
		require.ErrorIs(t, err, torch.ErrOutOfMemory)
		require.Equal(t, before, torch.Stats().Tensors)
		require.Empty(t, o.State())
	})
}
