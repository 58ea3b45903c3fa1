package finetune

import (
	"fmt"
	"strings"
)

// contract is the promise that frozen parameters, and the buffers of frozen stages, do not move, and that something of every
// trained stage does. Of a single parameter that is not promised: a gradient may be 0 but for rounding, as that of
// attention's key biases is, which softmax does not see.
type contract struct {
	plan    *Plan
	digests map[string]uint64
}

func takeContract(plan *Plan) *contract {
	c := &contract{plan, map[string]uint64{}}
	for _, p := range plan.each {
		c.digests[p.Name] = p.Tensor.Digest()
	}
	for _, s := range plan.Stages {
		for _, b := range s.buffers {
			c.digests[b.Name] = b.Tensor.Digest()
		}
	}
	return c
}

// check fails when the promise was broken.
func (c *contract) check() error {
	var moved, stuck []string
	for _, s := range c.plan.Stages {
		var still []string
		stirred := false
		for _, p := range s.params {
			same := p.Tensor.Digest() == c.digests[p.Name]
			switch {
			case same && p.trained:
				still = append(still, p.Name)
			case !same && !p.trained:
				moved = append(moved, p.Name)
			case p.trained:
				stirred = true
			}
		}
		if !stirred {
			stuck = append(stuck, still...)
		}
	}
	for _, s := range c.plan.Stages {
		for _, b := range s.buffers {
			if b.Tensor.Digest() != c.digests[b.Name] {
				moved = append(moved, b.Name)
			}
		}
	}
	if moved != nil {
		return fmt.Errorf("frozen tensors moved: %s; this is a defect of the model's code or of Thaw", strings.Join(moved, ", "))
	}
	if stuck != nil {
		return fmt.Errorf("parameters that should train never moved: %s; is their learning rate too small, or do they not take part in the loss?", strings.Join(stuck, ", "))
	}
	return nil
}

// checkGradients fails when a parameter that should train got no gradient from the first step.
func (c *contract) checkGradients() error {
	var without []string
	for _, p := range c.plan.each {
		if !p.trained {
			continue
		}
		g := p.Tensor.Grad()
		if !g.Defined() {
			without = append(without, p.Name)
		}
		g.Close()
	}
	if without != nil {
		return fmt.Errorf("parameters that should train got no gradient: %s", strings.Join(without, ", "))
	}
	return nil
}
