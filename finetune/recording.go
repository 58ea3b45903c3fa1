package finetune

import (
	"errors"
	"fmt"
	"math"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
)

// A recorded step must do what the step does operator by operator. With deterministic kernels it does so bit for bit;
// otherwise sums of gradients come in another order each time, and the two differ as two runs of either do. What is
// compared is how far parameters and the optimiser's averages moved, at the phase's highest learning rates: at the rates
// of a warm-up's first step, which are 0, nothing would.
const (
	differentLoss = 1e-4 // relative
	differentMove = 1e-2 // of the length of the move
	// Where the operators themselves, run twice, differ by more, so may the recording: by so many times as much, but never by
	// more than half of the move.
	noiseAllowed     = 4
	mostDifferentYet = 0.5
)

// record records the step of a place, once it was seen to do what it does operator by operator. Where it cannot be
// recorded, or differs, that is told and steps go on operator by operator. Either way no step was made at the end.
func (c *conveyor[B]) record(p *slot, b B, step func() error) error {
	var recorded recording
	var why string
	var err error
	failure := torch.Try(func() { recorded, why, err = c.tryRecording(b, step) })
	if err = errors.Join(err, failure); outOfMemory(err) { // the step alone may do with less
		why, err = "memory ran short while they were recorded", c.machine.release()
	}
	switch {
	case err != nil:
		return err
	case why != "":
		p.refused = true
		c.report.Note("warning", fmt.Sprintf("steps of %s run operator by operator, which is slower: %s", shapeOf(b), why))
	default:
		p.recording = recorded
		c.replayed = append(c.replayed, shapeOf(b))
	}
	return nil
}

// tryRecording makes a step operator by operator, records it, makes it again by the recording from the same state, and
// compares. Then all is as it was. why says why there is no recording.
func (c *conveyor[B]) tryRecording(b B, step func() error) (_ recording, why string, err error) {
	live := c.moving()
	before, err := c.photograph(live)
	if err != nil {
		return nil, "", err
	}
	defer before.Close()
	usual := persistent(c.knobs.Clone)
	defer usual.Close()
	defer func() {
		// What a recording that broke off has left in the gradients was never computed.
		c.optimizer.ZeroGrad()
		c.knobs.Copy_(usual)
		err = errors.Join(err, c.goBack(live, before))
	}()
	c.setKnobs(c.top, b.Size())
	if err := c.machine.share(step); err != nil {
		return nil, "", err
	}
	eager, err := c.photograph(live)
	if err != nil {
		return nil, "", err
	}
	defer eager.Close()
	if l := eager.loss(); math.IsNaN(l) || math.IsInf(l, 0) {
		return nil, "", errNotFinite
	}
	if err := c.goBack(live, before); err != nil {
		return nil, "", err
	}
	mostLoss, mostMove := 0.0, 0.0
	if !c.spec.Deterministic {
		if err := c.machine.share(step); err != nil {
			return nil, "", err
		}
		loss, move := c.compare(live, before, eager)
		mostLoss = min(max(differentLoss, noiseAllowed*loss), mostDifferentYet)
		mostMove = min(max(differentMove, noiseAllowed*move), mostDifferentYet)
		if err := c.goBack(live, before); err != nil {
			return nil, "", err
		}
	}
	recorded, err := c.machine.capture(func() { _ = step() }) // its only error is one of the first step
	if err != nil {
		return nil, err.Error(), nil
	}
	trusted := false
	defer func() {
		if !trusted {
			recorded.close()
		}
	}()
	if err := recorded.replay(); err != nil {
		return nil, err.Error(), nil
	}
	if loss, move := c.compare(live, before, eager); !(loss <= mostLoss) || !(move <= mostMove) {
		return nil, fmt.Sprintf("the recorded step differs from them (its loss by %.1e, its move by %.1e); please report this", loss, move), nil
	}
	trusted = true
	return recorded, "", nil
}

// moving lists all that a step writes: the epoch's loss first, then what is trained.
func (c *conveyor[B]) moving() []torch.Tensor {
	live := append([]torch.Tensor{c.meter.sum}, c.params...)
	for _, s := range c.optimizer.State() {
		live = append(live, s.Tensor)
	}
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
	var apart, moved []torch.Tensor // lengths: the differences themselves would take as much memory as two photos
	defer func() { closeTensors(apart); closeTensors(moved) }()
	torch.Scoped(func() {
		torch.NoGrad(func() {
			want := after.loss() - before.loss()
			loss = math.Abs(live[0].Item()-after.loss()) / math.Max(math.Abs(want), 1e-12)
			judge := func() {
				if a := length(apart); a != 0 { // NaN too
					move = math.Max(move, a/length(moved))
				}
				closeTensors(apart)
				closeTensors(moved)
				apart, moved = nil, nil
			}
			// Each kind by itself: SGD's momentum moves 1/LR times as far as the parameters, which it would hide.
			states := 1 + len(c.params)
			buffers := states + len(c.optimizer.State())
			for i := 1; i < len(live); i++ {
				if i == states || i == buffers {
					judge()
				}
				if t := live[i]; t.DType().IsFloat() && t.Dim() > 0 { // step counts would hide the rest
					apart = append(apart, distance(t, after.tensors[i]))
					moved = append(moved, distance(after.tensors[i], before.tensors[i]))
				} else if !t.Equal(after.tensors[i]) {
					move = math.Inf(1)
				}
			}
			judge()
		})
	})
	return loss, move
}

// distance is the Euclidean length of the difference of two tensors, on their device.
func distance(a, b torch.Tensor) (d torch.Tensor) {
	torch.Scoped(func() { d = torch.Keep(a.Sub(b).To(torch.Float32).VectorNorm(2, nil, false)) })
	return d
}

// length is the Euclidean length of several lengths at right angles.
func length(of []torch.Tensor) float64 {
	if len(of) == 0 {
		return 0
	}
	return torch.Stack(of, 0).VectorNorm(2, nil, false).Item()
}
