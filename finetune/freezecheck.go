package finetune

import (
	"fmt"
	"strings"

	"github.com/thaw-ml/thaw/torch"
)

// freezeCheck makes sure that frozen parameters, and the buffers of frozen stages, do not move in a phase, and that
// something of every trained stage does. A single trained parameter need not: a gradient may be 0 but for rounding, as
// that of attention's key biases is, which softmax does not see.
type freezeCheck struct {
	plan    *Plan
	digests map[string]uint64
}

// newFreezeCheck takes the digests before a phase.
func newFreezeCheck(plan *Plan) *freezeCheck {
	c := &freezeCheck{plan, map[string]uint64{}}
	for _, p := range plan.each {
		c.digests[p.Name] = p.Tensor.Digest()
	}
	for _, s := range plan.Stages {
		for _, b := range s.frozenBuffers() {
			c.digests[b.Name] = b.Tensor.Digest()
		}
	}
	return c
}

// compare compares with the digests after the phase.
func (c *freezeCheck) compare() error {
	var moved, stuck []string
	for _, s := range c.plan.Stages {
		var still []string
		changed := false
		for _, p := range s.params {
			same := p.Tensor.Digest() == c.digests[p.Name]
			switch {
			case same && p.trained:
				still = append(still, p.Name)
			case !same && !p.trained:
				moved = append(moved, p.Name)
			case p.trained:
				changed = true
			}
		}
		if !changed {
			stuck = append(stuck, still...)
		}
	}
	for _, s := range c.plan.Stages {
		for _, b := range s.frozenBuffers() {
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

// frozenBuffers are those that must not move; those of a trained stage may.
func (s StagePlan) frozenBuffers() []torch.Named {
	if s.Trained {
		return nil
	}
	return s.buffers
}

// gradients fails when a parameter that should train got no gradient from the first step.
func (c *freezeCheck) gradients() error {
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
