// Package optim holds optimisers on libtorch's fused kernels, gradient clipping, and learning-rate schedules.
//
// For steps that a CUDA graph records, the learning rates are a tensor (Rates in the optimisers' options): [groups], float32,
// on the parameters' device, read at every step in place of the groups' LR, which the recording would fix.
package optim

import "github.com/thaw-ml/thaw/torch"

// Optimizer moves parameters against their gradients.
type Optimizer interface {
	// Step moves every parameter that has a gradient.
	Step()
	// ZeroGrad drops all gradients.
	ZeroGrad()
	// Groups are the parameter groups, whose learning rates a schedule may change between steps.
	Groups() []*Group
	// State are the optimiser's own tensors: what the coming steps depend on beside parameters and gradients. They are made
	// when a parameter first has a gradient, or, where the rates are a tensor, at once.
	State() []torch.Tensor
	// Close frees the optimiser's own tensors.
	Close()
}

// Group is a set of parameters that share their settings.
type Group struct {
	Name        string
	Params      []torch.Tensor
	LR          float64 // at this step
	WeightDecay float64
}

// groups is the part that all optimisers share.
type groups []*Group

func (g groups) Groups() []*Group { return g }

func (g groups) ZeroGrad() {
	for _, group := range g {
		for _, p := range group.Params {
			p.ZeroGrad()
		}
	}
}

// withGrad gives the positions of a group's parameters that have a gradient, and the gradients.
func (g *Group) withGrad() (at []int, params, grads []torch.Tensor) {
	for i, p := range g.Params {
		if grad := p.Grad(); grad.Defined() {
			at, params, grads = append(at, i), append(params, p), append(grads, grad)
		}
	}
	return at, params, grads
}

// persistent makes a tensor that outlives every scope.
func persistent(make func() torch.Tensor) (t torch.Tensor) {
	torch.Unscoped(func() { t = make() })
	return t
}
