package train

import (
	"errors"
	"fmt"
	"math"

	"github.com/thaw-ml/thaw/torch"
)

// A captured step must do what the step does operator by operator. With deterministic kernels it does so bit for bit;
// otherwise sums of gradients are taken in another order each time, and the two differ as two runs of either do. What
// is compared is how far parameters, buffers and the optimizer's averages moved, at the phase's highest learning rates:
// at the rates of a warm-up's first step, which are 0, nothing would move.
const (
	differentLoss = 1e-4 // relative
	differentMove = 1e-2 // of the length of the move
	// Where the operators themselves, run twice, differ by more, so may the graph: by so many times as much, but never
	// by more than half of the move.
	noiseAllowed  = 4
	mostDifferent = 0.5
)

// capture captures the step of a batch shape as a graph, once the graph was seen to do what the step does operator by
// operator. Where it cannot be captured, or differs, a warning says so and steps go on operator by operator. Either way
// no step was made at the end.
func (g *graphs[B]) capture(s *static[B], b B, step func() error) error {
	var captured Graph
	var why string
	err := torch.TryErr(func() (err error) {
		captured, why, err = g.tryCapture(b, step)
		return err
	})
	if errors.Is(err, torch.ErrOutOfMemory) { // the step alone may need less
		why, err = "memory ran short while they were captured", g.backend.EmptyCache()
	}
	switch {
	case err != nil:
		return err
	case why != "":
		s.refused = true
		return g.warn(NotCaptured, "steps of %s run operator by operator, which is slower: %s", shapeOf(b), why)
	}
	s.graph = captured
	g.captured = append(g.captured, shapeOf(b))
	return nil
}

// tryCapture makes a step operator by operator, captures it, makes it again by the graph from the same state, and
// compares. Then all is as it was. why says why there is no graph.
func (g *graphs[B]) tryCapture(b B, step func() error) (_ Graph, why string, err error) {
	live := g.mutable()
	before, err := g.snapshot(live)
	if err != nil {
		return nil, "", err
	}
	defer before.close()
	usual := torch.NewParam(g.hyper.Clone)
	defer usual.Close()
	defer func() {
		g.step.optimizer.ZeroGrad() // what a capture that broke off has left in the gradients was never computed
		g.hyper.Copy_(usual)
		err = errors.Join(err, g.restore(live, before))
	}()
	g.setHyper(g.top, b.Size())
	if err := g.backend.ShareGraphMemory(step); err != nil {
		return nil, "", err
	}
	eager, err := g.snapshot(live)
	if err != nil {
		return nil, "", err
	}
	defer eager.close()
	if !finite(eager.loss()) {
		return nil, "", ErrNotFinite
	}
	if err := g.restore(live, before); err != nil {
		return nil, "", err
	}
	mostLoss, mostMove := 0.0, 0.0
	if !g.config.Deterministic {
		if err := g.backend.ShareGraphMemory(step); err != nil {
			return nil, "", err
		}
		loss, move := compare(live, before, eager)
		mostLoss = min(max(differentLoss, noiseAllowed*loss), mostDifferent)
		mostMove = min(max(differentMove, noiseAllowed*move), mostDifferent)
		if err := g.restore(live, before); err != nil {
			return nil, "", err
		}
	}
	graph, err := g.backend.Capture(func() { _ = step() }) // its only error is one of the first step
	if err != nil {
		return nil, err.Error(), nil
	}
	trusted := false
	defer func() {
		if !trusted {
			graph.Close()
		}
	}()
	if err := graph.Replay(); err != nil {
		return nil, err.Error(), nil
	}
	if loss, move := compare(live, before, eager); !(loss <= mostLoss) || !(move <= mostMove) {
		return nil, fmt.Sprintf("the captured step differs from them (its loss by %.1e, its move by %.1e); please report this", loss, move), nil
	}
	trusted = true
	return graph, "", nil
}

// mutable lists all that a step writes, by kind: the epoch's loss first, then the step's own.
func (g *graphs[B]) mutable() [][]torch.Tensor {
	return append([][]torch.Tensor{{g.lossSum.sum}}, g.step.mutable()...)
}

// snapshot is a copy of what a step writes and of the state of the device's generator.
type snapshot struct {
	kinds  [][]torch.Tensor
	random torch.Tensor
}

func (p *snapshot) loss() float64 { return p.kinds[0][0].Item() }

func (p *snapshot) close() {
	for _, tensors := range p.kinds {
		closeAll(tensors)
	}
	p.random.Close()
}

func (g *graphs[B]) snapshot(live [][]torch.Tensor) (*snapshot, error) {
	generator, err := g.backend.Generator()
	if err != nil {
		return nil, err
	}
	p := &snapshot{}
	torch.Scoped(func() {
		torch.NoGrad(func() {
			for _, tensors := range live {
				copies := make([]torch.Tensor, len(tensors))
				for i, t := range tensors {
					copies[i] = t.Clone()
				}
				p.kinds = append(p.kinds, copies)
			}
		})
		p.random = generator.State()
		for _, tensors := range p.kinds {
			torch.Keep(tensors...)
		}
		torch.Keep(p.random)
	})
	return p, nil
}

// restore makes all as it was when the snapshot was taken.
func (g *graphs[B]) restore(live [][]torch.Tensor, p *snapshot) error {
	generator, err := g.backend.Generator()
	if err != nil {
		return err
	}
	torch.Scoped(func() {
		torch.NoGrad(func() {
			for k, tensors := range live {
				for i, t := range tensors {
					t.Copy_(p.kinds[k][i])
				}
			}
		})
		generator.SetState(p.random)
	})
	return nil
}

// compare tells how far what is live lies from the snapshot after: the loss, and all that moved since before. Each kind
// is judged by itself: SGD's momentum moves 1/LR times as far as the parameters, which it would hide.
func compare(live [][]torch.Tensor, before, after *snapshot) (loss, move float64) {
	torch.Scoped(func() {
		torch.NoGrad(func() {
			want := after.loss() - before.loss()
			loss = math.Abs(live[0][0].Item()-after.loss()) / math.Max(math.Abs(want), 1e-12)
			for k := 1; k < len(live); k++ {
				var apart, moved []torch.Tensor // lengths: the differences would take as much memory as two snapshots
				for i, t := range live[k] {
					if t.DType().IsFloat() && t.Dim() > 0 { // step counts would hide the rest
						apart = append(apart, distance(t, after.kinds[k][i]))
						moved = append(moved, distance(after.kinds[k][i], before.kinds[k][i]))
					} else if !t.Equal(after.kinds[k][i]) {
						move = math.Inf(1)
					}
				}
				if a := length(apart); a != 0 { // NaN too
					move = math.Max(move, a/length(moved))
				}
				closeAll(apart)
				closeAll(moved)
			}
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
