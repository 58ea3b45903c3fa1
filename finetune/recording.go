package finetune

import (
	"fmt"
	"math"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
)

// A recorded step must do what the step does operator by operator. With deterministic kernels it does so bit for bit;
// otherwise sums of gradients come in another order each time, and the two differ as two runs of either do. What is
// compared is how far parameters and the optimiser's averages moved.
const (
	differentLoss = 1e-4 // relative
	differentMove = 1e-2 // of the length of the move
)

// record makes the first step of a place operator by operator, records it, makes it again from the same state by the
// recording, and compares. Where it cannot be recorded, or differs, that is told and steps go on operator by operator.
func (c *conveyor[B]) record(p *slot, b B, step func() error) error {
	live := c.moving()
	before, err := c.photograph(live)
	if err != nil {
		return err
	}
	defer before.Close()
	if torch.Scoped(func() { err = step() }); err != nil {
		return err
	}
	eager, err := c.photograph(live)
	if err != nil {
		return err
	}
	defer eager.Close()
	giveUp := func(why string) error {
		p.refused = true
		c.report.Note("warning", fmt.Sprintf("steps of %d x %d run operator by operator, which is slower: %s", b.Size(), b.Width(), why))
		return c.goBack(live, eager)
	}
	if err := c.goBack(live, before); err != nil {
		return err
	}
	recorded, err := c.machine.capture(func() { _ = step() }) // its only error is one of the first step
	if err != nil {
		return giveUp(err.Error())
	}
	if err := recorded.replay(); err != nil {
		recorded.close()
		return giveUp(err.Error())
	}
	loss, move := c.compare(live, before, eager)
	switch {
	case math.IsNaN(eager.loss()):
		recorded.close()
		return errNotFinite
	case c.spec.Deterministic && (loss != 0 || move != 0), !(loss <= differentLoss), !(move <= differentMove):
		recorded.close()
		return giveUp(fmt.Sprintf("the recorded step differs from them (its loss by %.1e, its move by %.1e); please report this", loss, move))
	}
	p.recording = recorded
	c.replayed = append(c.replayed, fmt.Sprintf("%d x %d", b.Size(), b.Width()))
	return nil
}

// moving lists all that a step writes: the epoch's loss first, then what is trained.
func (c *conveyor[B]) moving() []torch.Tensor {
	live := append([]torch.Tensor{c.meter.sum}, c.params...)
	live = append(live, c.optimizer.State()...)
	for i, s := range c.model.Stages() {
		if c.plan.Stages[i].Trained {
			for _, b := range nn.Buffers(s.Module) {
				live = append(live, b)
			}
		}
	}
	return live
}

// photo is a copy of what a step writes and of the state of the device's generator.
type photo struct {
	tensors []torch.Tensor
	random  torch.Tensor
}

func (p *photo) loss() float64 { return p.tensors[0].Item() }

func (p *photo) Close() {
	closeTensors(p.tensors)
	p.random.Close()
}

func (c *conveyor[B]) photograph(live []torch.Tensor) (*photo, error) {
	g, err := c.machine.generator()
	if err != nil {
		return nil, err
	}
	p := &photo{}
	torch.Scoped(func() {
		torch.NoGrad(func() {
			for _, t := range live {
				p.tensors = append(p.tensors, t.Clone())
			}
		})
		p.random = g.State()
		torch.Keep(p.tensors...)
		torch.Keep(p.random)
	})
	return p, nil
}

// goBack makes all as it was when the photo was taken.
func (c *conveyor[B]) goBack(live []torch.Tensor, p *photo) error {
	g, err := c.machine.generator()
	if err != nil {
		return err
	}
	torch.Scoped(func() {
		torch.NoGrad(func() {
			for i, t := range live {
				t.Copy_(p.tensors[i])
			}
		})
		g.SetState(p.random)
	})
	return nil
}

// compare tells how far what is live lies from the photo after: the loss, and all that moved since before.
func (c *conveyor[B]) compare(live []torch.Tensor, before, after *photo) (loss, move float64) {
	torch.Scoped(func() {
		torch.NoGrad(func() {
			want := after.loss() - before.loss()
			loss = math.Abs(live[0].Item()-after.loss()) / math.Max(math.Abs(want), 1e-12)
			var apart, moved []torch.Tensor
			for i := 1; i < len(live); i++ {
				if t := live[i]; t.DType().IsFloat() && t.Dim() > 0 { // step counts would hide the rest
					apart = append(apart, t.Sub(after.tensors[i]).To(torch.Float32))
					moved = append(moved, after.tensors[i].Sub(before.tensors[i]).To(torch.Float32))
				} else if !t.Equal(after.tensors[i]) {
					move = math.Inf(1)
				}
			}
			if a := length(apart); a > 0 {
				move = math.Max(move, a/length(moved))
			}
		})
	})
	return loss, move
}

// length is the Euclidean length of tensors taken together.
func length(tensors []torch.Tensor) float64 {
	if len(tensors) == 0 {
		return 0
	}
	return torch.Stack(torch.ForeachNorm(tensors, 2), 0).VectorNorm(2, nil, false).Item()
}
