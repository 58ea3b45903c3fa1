package optim

import "github.com/thaw-ml/thaw/torch"

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

// NewAdamW makes the optimiser; its state is made when a parameter first has a gradient.
func NewAdamW(o AdamWOptions, g ...*Group) *AdamW {
	if o.Beta1 == 0 && o.Beta2 == 0 {
		o.Beta1, o.Beta2 = 0.9, 0.999
	}
	if o.Eps == 0 {
		o.Eps = 1e-8
	}
	a := &AdamW{groups: g, o: o}
	ready := false
	defer func() {
		if !ready { // memory ran short
			a.Close()
		}
	}()
	for _, group := range g {
		state := make([]adamState, len(group.Params))
		a.state = append(a.state, state)
		for i := range state {
			if o.Rates.Defined() {
				a.makeState(&state[i], group.Params[i])
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
		torch.FusedAdamWTensorLR_(params, grads, avgs, avgSqs, maxSqs, steps, a.o.Rates.Select(0, number), a.o.Beta1, a.o.Beta2,
			g.WeightDecay, a.o.Eps, a.o.AMSGrad, false)
		return
	}
	torch.FusedAdamW_(params, grads, avgs, avgSqs, maxSqs, steps, g.LR, a.o.Beta1, a.o.Beta2, g.WeightDecay, a.o.Eps,
		a.o.AMSGrad, false)
}

// makeState makes a parameter's state in place, the step count last: a state that has one is whole.
func (a *AdamW) makeState(s *adamState, p torch.Tensor) {
	s.close()
	s.expAvg = persistent(p.ZerosLike)
	s.expAvgSq = persistent(p.ZerosLike)
	if a.o.AMSGrad {
		s.maxExpAvgSq = persistent(p.ZerosLike)
	}
	s.step = persistent(func() torch.Tensor { return torch.Zeros(torch.Float32, p.Device()) })
}

func (s *adamState) close() {
	s.step.Close()
	s.expAvg.Close()
	s.expAvgSq.Close()
	s.maxExpAvgSq.Close()
	*s = adamState{}
}

// State are the step counts and averages of each parameter.
func (a *AdamW) State() []torch.Tensor {
	var out []torch.Tensor
	for _, group := range a.state {
		for _, s := range group {
			for _, t := range []torch.Tensor{s.step, s.expAvg, s.expAvgSq, s.maxExpAvgSq} {
				if t.Defined() {
					out = append(out, t)
				}
			}
		}
	}
	return out
}

// Close frees the optimiser's state.
func (a *AdamW) Close() {
	for _, group := range a.state {
		for i := range group {
			group[i].close()
		}
	}
}
