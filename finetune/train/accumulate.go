package train

import (
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/data"
	"github.com/thaw-ml/thaw/torch/nn"
)

// Weigher is an objective whose Loss is not the mean over samples: one over tokens, or a weighted one. Where a step
// accumulates gradients over parts of its batch, each part's loss counts by its share of the whole batch's weight.
type Weigher interface {
	// Weight is what Loss divides by for these targets, a tensor without dimensions.
	Weight(target nn.Values) torch.Tensor
}

// part is a piece of a batch that a step computes by itself.
type part[B data.Batch[B]] struct {
	batch B
	x     nn.Values    // its rows of the frozen stages' output; nil where that was not given
	share float64      // of the batch's samples
	exact torch.Tensor // in place of share: of the batch's weight; undefined where the loss is a mean over samples
}

// split cuts a batch into parts of as many samples as are computed at a time. The parts' tensors are views.
func (s *step[B]) split(b B, x nn.Values) ([]part[B], error) {
	rows, atATime, of := b.Size(), b.Size(), float64(b.Size())
	if s.rows != nil {
		atATime = s.rows(b.Width())
	}
	if s.together != nil {
		of = s.together.of
	}
	weigher, weighs := s.objective.(Weigher)
	if rows <= atATime && (s.together == nil || !weighs) {
		return []part[B]{{batch: b, x: x, share: float64(rows) / of}}, nil
	}
	var whole torch.Tensor
	if weighs {
		var err error
		if whole, err = s.together.weight(weigher.Weight(b.Targets())); err != nil {
			return nil, err
		}
	}
	var parts []part[B]
	for at, n := 0, 0; at < rows; at += n {
		n = min(atATime, rows-at)
		if rows-at-n == 1 && n > 2 {
			n-- // a lone sample gets company: BatchNorm has no variance of one value
		}
		piece := b
		if n < rows {
			piece = any(b).(data.Slicer[B]).Slice(at, at+n) // NewTrainer's caller has looked
		}
		p := part[B]{batch: piece, x: narrow(x, at, n), share: float64(n) / of}
		if weighs {
			p.exact = weigher.Weight(p.batch.Targets()).Div(whole)
		}
		parts = append(parts, p)
	}
	return parts, nil
}

// narrow gives n rows of each tensor; of none, none.
func narrow(tensors []torch.Tensor, at, n int) []torch.Tensor {
	if tensors == nil {
		return nil
	}
	out := make([]torch.Tensor, len(tensors))
	for i, t := range tensors {
		if t.Defined() {
			out[i] = t.Narrow(0, at, n)
		}
	}
	return out
}

// gradients computes the gradients of the batch's mean loss, part by part, and gives that loss. check, where it is not
// nil, sees each part's loss before its backward pass.
func (s *step[B]) gradients(b B, x nn.Values, check func(loss torch.Tensor) error) (total torch.Tensor, err error) {
	parts, err := s.split(b, x)
	if err != nil {
		return total, err
	}
	if len(parts) == 1 {
		return s.reduced(parts[0], true, true, check)
	}
	for i, p := range parts {
		before := total
		total = torch.Tidy(func() (loss torch.Tensor) {
			last := i == len(parts)-1
			if loss, err = s.reduced(p, last, false, check); err != nil {
				return loss
			}
			if loss = loss.Detach(); i > 0 {
				loss = loss.Add(before)
			}
			return loss
		})
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// reduced is backward, after the last part of which gradients are those of all processes. They are sent while it computes,
// unless copies of the parameters have gradients of their own first.
func (s *step[B]) reduced(p part[B], last, only bool, check func(loss torch.Tensor) error) (loss torch.Tensor, err error) {
	armed, err := s.together.arm(last && s.cast == nil && s.recompute == nil)
	if err != nil {
		return loss, err
	}
	err = s.together.waiting(func() error {
		loss, err = s.backward(p, check)
		return err
	})
	if err != nil {
		return loss, err
	}
	if !only {
		s.gather(last)
	}
	if last && !armed {
		err = s.together.reduce(s.params)
	}
	return loss, err
}

// backward adds a part's gradients and gives its share of the loss.
func (s *step[B]) backward(p part[B], check func(loss torch.Tensor) error) (loss torch.Tensor, err error) {
	input := func() nn.Values {
		if p.x == nil && s.frozen > 0 {
			return s.runFrozen(p.batch)
		}
		return p.x
	}
	shared := func(loss torch.Tensor) torch.Tensor {
		switch {
		case p.exact.Defined():
			return loss.Mul(p.exact)
		case p.share != 1:
			return loss.MulScalar(p.share)
		}
		return loss
	}
	if s.recompute != nil {
		err = s.cast.RunBy(func() (err error) {
			loss, err = s.recompute.backward(p.batch, input(), func(f func()) { autocast(s.precision, f) },
				func(output nn.Values) (plain, scaled torch.Tensor, err error) {
					autocast(s.precision, func() { plain = s.objective.Loss(output, p.batch.Targets()) })
					if plain = shared(plain); check != nil {
						err = check(plain)
					}
					return plain, s.scaler.scaled(plain), err
				})
			return err
		})
		return loss, err
	}
	forward := func() torch.Tensor {
		x := input()
		autocast(s.precision, func() {
			loss = s.objective.Loss(nn.RunStages(s.stages[s.frozen:], p.batch, x), p.batch.Targets())
		})
		loss = shared(loss)
		return s.scaler.scaled(loss)
	}
	var checkPart func(torch.Tensor) error
	if check != nil {
		checkPart = func(torch.Tensor) error { return check(loss) }
	}
	return loss, s.cast.Run(forward, checkPart)
}

// gather adds up the gradients of parts in float32 where the layers read copies of the parameters, whose gradients a
// parameter takes only while it has none. Without copies autograd adds them up by itself.
func (s *step[B]) gather(last bool) {
	if s.cast == nil {
		return
	}
	torch.NoGrad(func() {
		if s.sums == nil {
			for _, p := range s.params {
				s.sums = append(s.sums, torch.NewParam(func() torch.Tensor { return p.ZerosLike() }))
			}
		}
		var grads, sums []torch.Tensor
		for i, p := range s.params {
			if g := p.Grad(); g.Defined() {
				grads, sums = append(grads, g), append(sums, s.sums[i])
			}
		}
		if len(grads) == 0 {
			return
		}
		if last {
			torch.ForeachAdd_(grads, sums, 1)
			torch.ForeachZero_(sums)
			return
		}
		torch.ForeachAdd_(sums, grads, 1)
		s.optimizer.ZeroGrad()
	})
}
