package optim

import "github.com/thaw-ml/thaw/torch"

// SGDOptions are SGD's settings beside the groups'.
type SGDOptions struct {
	Momentum  float64
	Dampening float64
	Nesterov  bool
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
	for _, group := range g {
		s.buffers = append(s.buffers, make([]torch.Tensor, len(group.Params)))
	}
	return s
}

// Step moves every parameter that has a gradient.
func (s *SGD) Step() {
	torch.Scoped(func() {
		torch.NoGrad(func() {
			for i, g := range s.groups {
				s.stepGroup(g, s.buffers[i])
			}
		})
	})
}

// sgdCall is what one call of the kernel moves.
type sgdCall struct{ params, grads, momenta []torch.Tensor }

// stepGroup treats apart the parameters that have their first step: their momentum starts as the gradient itself.
func (s *SGD) stepGroup(g *Group, buffers []torch.Tensor) {
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
	s.run(g, first, true)
	s.run(g, later, false)
}

func (s *SGD) run(g *Group, c sgdCall, first bool) {
	if len(c.params) > 0 {
		torch.FusedSGD_(c.params, c.grads, c.momenta, g.WeightDecay, s.o.Momentum, g.LR, s.o.Dampening, s.o.Nesterov,
			false, first)
	}
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
