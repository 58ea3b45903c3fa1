package optim

import (
	"github.com/thaw-ml/thaw/internal/undo"
	"github.com/thaw-ml/thaw/torch"
)

// SGDOptions are SGD's settings beside the groups'.
type SGDOptions struct {
	Momentum  float64
	Dampening float64
	Nesterov  bool
	// Rates are learning rates by group, for steps that are recorded; undefined: the groups' LR. With them momentum
	// starts from 0, which without dampening is the same.
	Rates torch.Tensor
}

// SGD is stochastic gradient descent with momentum, on libtorch's fused kernel.
type SGD struct {
	groups
	o       SGDOptions
	buffers [][]torch.Tensor
}

// NewSGD makes the optimizer. It panics *[torch.Error] where a group's names are not as many as its parameters, for
// dampening with rates in a tensor, and, with these, where memory does not suffice for the state.
func NewSGD(o SGDOptions, g ...*Group) *SGD {
	s := &SGD{groups: g, o: o, buffers: make([][]torch.Tensor, len(g))}
	s.check("sgd")
	if o.Rates.Defined() && o.Dampening != 0 {
		panic(&torch.Error{Op: "sgd",
			Msg: "dampening makes the first step another than the rest: it cannot be used with rates in a tensor"})
	}
	ready := false
	defer undo.Unless(&ready, s.Close) // where memory ran short
	for i, group := range g {
		s.buffers[i] = make([]torch.Tensor, len(group.Params))
		for k, p := range group.Params {
			if o.Rates.Defined() && o.Momentum != 0 {
				s.buffers[i][k] = torch.NewParam(p.ZerosLike)
			}
		}
	}
	ready = true
	return s
}

// Step moves every parameter that has a gradient.
func (s *SGD) Step() {
	torch.Scoped(func() {
		torch.NoGrad(func() {
			for i, g := range s.groups {
				s.stepGroup(i, g, s.buffers[i])
			}
		})
	})
}

// sgdCall is what one call of the kernel moves.
type sgdCall struct{ params, grads, momenta []torch.Tensor }

// stepGroup treats apart the parameters that have their first step: their momentum starts as the gradient itself.
func (s *SGD) stepGroup(number int, g *Group, buffers []torch.Tensor) {
	at, params, grads := g.withGrad()
	var first, later sgdCall
	for k, i := range at {
		c := &later
		if s.o.Momentum != 0 {
			if !buffers[i].Defined() {
				c, buffers[i] = &first, torch.NewParam(params[k].ZerosLike)
			}
			c.momenta = append(c.momenta, buffers[i])
		}
		c.params, c.grads = append(c.params, params[k]), append(c.grads, grads[k])
	}
	s.run(number, g, first, true)
	s.run(number, g, later, false)
}

func (s *SGD) run(number int, g *Group, c sgdCall, first bool) {
	switch {
	case len(c.params) == 0:
	case s.o.Rates.Defined():
		torch.FusedSGDTensorLR_(c.params, c.grads, c.momenta, g.WeightDecay, s.o.Momentum, s.o.Rates.Select(0, number),
			s.o.Dampening, s.o.Nesterov, false, first)
	default:
		torch.FusedSGD_(c.params, c.grads, c.momenta, g.WeightDecay, s.o.Momentum, g.LR, s.o.Dampening, s.o.Nesterov,
			false, first)
	}
}

func (s *SGD) records() []record {
	var out []record
	for i, names := range Names(s.groups) {
		for k, name := range names {
			r := record{name: name, param: s.groups[i].Params[k]}
			if s.o.Momentum != 0 && k < len(s.buffers[i]) { // shorter where memory ran short in NewSGD
				r.slots = []slot{{kind: "momentum_buffer", at: &s.buffers[i][k]}}
			}
			out = append(out, r)
		}
	}
	return out
}

// State lists momentum_buffer of each parameter; without momentum there is none.
func (s *SGD) State() []torch.Named { return named(s.records()) }

// Load restores what State gave.
func (s *SGD) Load(state []torch.Named) error {
	return load(s.records(), state, s.o.Rates.Defined())
}

// Close frees the momentum buffers.
func (s *SGD) Close() { closeAll(s.records()) }
