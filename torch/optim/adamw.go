package optim

import (
	"github.com/thaw-ml/thaw/internal/undo"
	"github.com/thaw-ml/thaw/torch"
)

// AdamWOptions are AdamW's settings beside the groups'.
type AdamWOptions struct {
	Beta1, Beta2 float64 // 0, 0 means 0.9, 0.999
	Eps          float64 // 0 means 1e-8
	AMSGrad      bool
	Rates        torch.Tensor // learning rates by group, for steps that are recorded; undefined: the groups' LR
}

// AdamW is Adam with decoupled weight decay (Loshchilov and Hutter 2019), on libtorch's fused kernel.
type AdamW struct {
	groups
	o     AdamWOptions
	state [][]adamState
}

type adamState struct{ step, expAvg, expAvgSq, maxExpAvgSq torch.Tensor }

// NewAdamW makes the optimizer. It panics *[torch.Error] where a group's names are not as many as its parameters, and,
// with rates in a tensor, where memory does not suffice for the state.
func NewAdamW(o AdamWOptions, g ...*Group) *AdamW {
	if o.Beta1 == 0 && o.Beta2 == 0 {
		o.Beta1, o.Beta2 = 0.9, 0.999
	}
	if o.Eps == 0 {
		o.Eps = 1e-8
	}
	a := &AdamW{groups: g, o: o, state: make([][]adamState, len(g))}
	a.check("adamw")
	ready := false
	defer undo.Unless(&ready, a.Close) // where memory ran short
	for i, group := range g {
		a.state[i] = make([]adamState, len(group.Params))
		for k, p := range group.Params {
			if o.Rates.Defined() {
				a.makeState(&a.state[i][k], p)
			}
		}
	}
	ready = true
	return a
}

// Step moves every parameter that has a gradient.
func (a *AdamW) Step() {
	torch.Scoped(func() {
		torch.NoGrad(func() {
			for i, g := range a.groups {
				a.stepGroup(i, g, a.state[i])
			}
		})
	})
}

func (a *AdamW) stepGroup(number int, g *Group, state []adamState) {
	at, params, grads := g.withGrad()
	if len(at) == 0 {
		return
	}
	steps := make([]torch.Tensor, len(at))
	avgs, avgSqs := make([]torch.Tensor, len(at)), make([]torch.Tensor, len(at))
	var maxSqs []torch.Tensor
	for k, i := range at {
		s := &state[i]
		if !s.step.Defined() {
			a.makeState(s, g.Params[i])
		}
		steps[k], avgs[k], avgSqs[k] = s.step, s.expAvg, s.expAvgSq
		if a.o.AMSGrad {
			maxSqs = append(maxSqs, s.maxExpAvgSq)
		}
	}
	torch.ForeachAddScalar_(steps, 1)
	if a.o.Rates.Defined() {
		torch.FusedAdamWTensorLR_(params, grads, avgs, avgSqs, maxSqs, steps, a.o.Rates.Select(0, number), a.o.Beta1,
			a.o.Beta2, g.WeightDecay, a.o.Eps, a.o.AMSGrad, false)
		return
	}
	torch.FusedAdamW_(params, grads, avgs, avgSqs, maxSqs, steps, g.LR, a.o.Beta1, a.o.Beta2, g.WeightDecay, a.o.Eps,
		a.o.AMSGrad, false)
}

// slots are the places of a parameter's state, the step count last: a state that has one is whole.
func (a *AdamW) slots(s *adamState) []slot {
	out := []slot{{kind: "exp_avg", at: &s.expAvg}, {kind: "exp_avg_sq", at: &s.expAvgSq}}
	if a.o.AMSGrad {
		out = append(out, slot{kind: "max_exp_avg_sq", at: &s.maxExpAvgSq})
	}
	return append(out, slot{kind: "step", at: &s.step, counter: true})
}

// makeState makes a parameter's state in place.
func (a *AdamW) makeState(s *adamState, p torch.Tensor) {
	r := record{param: p, slots: a.slots(s)}
	closeAll([]record{r})
	for _, slot := range r.slots {
		*slot.at = r.zeros(slot)
	}
}

func (a *AdamW) records() []record {
	var out []record
	for i, names := range Names(a.groups) {
		for k, name := range names {
			if k < len(a.state[i]) { // else memory ran short in NewAdamW
				out = append(out, record{name, a.groups[i].Params[k], a.slots(&a.state[i][k])})
			}
		}
	}
	return out
}

// State lists exp_avg, exp_avg_sq, with AMSGrad max_exp_avg_sq, and step of each parameter.
func (a *AdamW) State() []torch.Named { return named(a.records()) }

// Load restores what State gave.
func (a *AdamW) Load(state []torch.Named) error {
	return load(a.records(), state, a.o.Rates.Defined())
}

// Close frees the optimizer's state.
func (a *AdamW) Close() { closeAll(a.records()) }
