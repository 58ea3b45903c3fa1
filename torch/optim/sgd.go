package optim

import "github.com/thaw-ml/thaw/torch"

// SGDOptions are SGD's settings beside the groups'.
type SGDOptions struct {
	Momentum  float64
	Dampening float64
	Nesterov  bool
	// Rates are learning rates by group, for steps that are recorded; undefined: the groups' LR. With them momentum starts
	// from 0, which without dampening is the same.
	Rates torch.Tensor
}

// SGD is stochastic gradient descent with momentum, on libtorch's fused kernel.
type SGD struct {
	groups
	o       SGDOptions
	buffers [][]torch.Tensor
}

// NewSGD makes the optimiser.
func NewSGD(o SGDOptions, g ...*Group) *SGD {
	s := &SGD{groups: g, o: o}
	if o.Rates.Defined() && o.Dampening != 0 {
		panic(&torch.Error{Op: "sgd", Msg: "dampening makes the first step another than the rest: it cannot be used with rates in a tensor"})
	}
	ready := false
	defer func() {
		if !ready { // memory ran short
			s.Close()
		}
	}()
	for _, group := range g {
		buffers := make([]torch.Tensor, len(group.Params))
		s.buffers = append(s.buffers, buffers)
		for i := range buffers {
			if o.Rates.Defined() && o.Momentum != 0 {
				buffers[i] = persistent(group.Params[i].ZerosLike)
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
				c, buffers[i] = &first, persistent(params[k].ZerosLike)
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

// State are the momentum buffers.
func (s *SGD) State() []torch.Tensor {
	var out []torch.Tensor
	for _, group := range s.buffers {
		for _, t := range group {
			if t.Defined() {
				out = append(out, t)
			}
		}
	}
	return out
}

// Close frees the momentum buffers.
func (s *SGD) Close() {
	for _, group := range s.buffers {
		for i := range group {
			group[i].Close()
			group[i] = torch.Tensor{}
		}
	}
}
