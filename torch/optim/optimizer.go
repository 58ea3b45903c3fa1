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
	// State lists the optimizer's own tensors: what the coming steps depend on beside parameters, gradients and groups.
	// Names are "<parameter>.<PyTorch's name>", as in "head.weight.exp_avg"; where parameters share a name,
	// "<group>.<index>" stands for it. A parameter's tensors are made when it first has a gradient, or, where the rates
	// are a tensor, with the optimizer. They are the optimizer's, not copies.
	State() []torch.Named
	// Load copies a state that State gave into the optimizer, at any time, also before its first step: the coming steps
	// are, bit for bit, those of the optimizer that had it. A parameter that state does not name is as before its first
	// step. An error names what is missing, unexpected, or of another shape or dtype, and leaves the optimizer as it was.
	Load(state []torch.Named) error
	// Close frees the optimizer's own tensors.
	Close()
}
