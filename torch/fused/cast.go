package fused

import (
	"github.com/thaw-ml/thaw/internal/undo"
	"github.com/thaw-ml/thaw/torch"
)

// Cast holds the copies that training steps read of a model's parameters under autocast, and keeps the order in which
// they are to be used. A nil Cast holds none: its Run is forward and backward alone, as in a step in float32.
//
// In a training loop, with c made once before the first step:
//
//	err := c.Run(func() (loss torch.Tensor) {
//		torch.Autocast(torch.BFloat16, func() { loss = model.Loss(batch) })
//		return loss
//	}, nil)
//	optimizer.Step()
//	optimizer.ZeroGrad()
type Cast struct{ trained, frozen *ShadowParams }

// NewCast makes copies in dtype, autocast's, of parameters that steps train and of parameters that they only read, see
// nn.AutocastParams. Copies of trained ones are made anew in every Run. Those of frozen ones are made here: after a
// change of their values make another Cast. It panics *[torch.Error] where memory does not suffice.
func NewCast(trained, frozen []torch.Tensor, dtype torch.DType) *Cast {
	c := &Cast{}
	ready := false
	defer undo.Unless(&ready, c.Close) // where memory ran short
	c.trained = NewShadowParams(trained, dtype)
	c.frozen = NewShadowParams(frozen, dtype)
	ready = true
	return c
}

// Run makes forward, whose layers read the copies, and the backward pass of the loss that it returns, a tensor of one
// element: afterwards the trained parameters, which must have no gradients before, have theirs. check, where it is not
// nil, sees the loss before the backward pass; its error ends Run, and no gradients are left.
func (c *Cast) Run(forward func() (loss torch.Tensor), check func(loss torch.Tensor) error) error {
	var loss torch.Tensor
	if c == nil {
		loss = forward()
	} else {
		c.trained.Refresh()
		c.trained.Use(func() {
			c.frozen.Use(func() { loss = forward() })
		})
	}
	if check != nil {
		if err := check(loss); err != nil {
			return err
		}
	}
	loss.Backward()
	if c != nil {
		c.trained.Collect()
	}
	return nil
}

// RunBy is Run for forward and backward passes that f makes by itself, in which layers read the copies. Where f fails it is to leave no
// gradients.
func (c *Cast) RunBy(f func() error) (err error) {
	if c == nil {
		return f()
	}
	c.trained.Refresh()
	c.trained.Use(func() {
		c.frozen.Use(func() { err = f() })
	})
	if err == nil {
		c.trained.Collect()
	}
	return err
}

// Close frees the copies. Closing again does nothing.
func (c *Cast) Close() {
	if c != nil {
		c.trained.Close()
		c.frozen.Close()
	}
}
