package train

import (
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/data"
	"github.com/thaw-ml/thaw/torch/nn"
)

// segment is stages that are computed again together in the backward pass.
type segment[B data.Batch[B]] struct {
	stages  []nn.Stage[B]
	buffers []torch.Tensor
}

// segments cuts stages wherever one may end.
func segments[B data.Batch[B]](stages []nn.Stage[B]) (out []segment[B]) {
	for i := 0; i < len(stages); {
		n := 1
		if stages[i].ForwardWithNext != nil && i+1 < len(stages) {
			n = 2
		}
		s := segment[B]{stages: stages[i : i+n]}
		for _, stage := range s.stages {
			for _, b := range nn.Buffers(stage.Module) {
				s.buffers = append(s.buffers, b)
			}
		}
		out = append(out, s)
		i += n
	}
	return out
}

// recompute is what a step needs to compute the activations of its segments again in the backward pass in place of keeping them
// (gradient checkpointing; Chen et al. 2016, https://arxiv.org/abs/1604.06174): of all but the last segment the input alone is kept.
// Loss and gradients are to the last bit those of a step that keeps all, as each segment runs twice with the same random numbers and
// buffers.
type recompute[B data.Batch[B]] struct {
	segments  []segment[B]
	generator *torch.Generator // of the device, which dropout draws from
}

// newRecompute is of the stages behind the frozen ones.
func newRecompute[B data.Batch[B]](f Forward[B], frozen int) (*recompute[B], error) {
	generator, err := f.Backend.Generator()
	return &recompute[B]{segments(f.Stages[frozen:]), generator}, err
}

// passed is what is kept of a segment's forward pass.
type passed struct {
	input   nn.Values
	random  torch.Tensor   // the generator's state before it
	buffers []torch.Tensor // as they were before it
}

// backward runs the segments on a batch, whose first one reads x, makes a loss of what the last one gives, and adds the gradients of all.
// scaled is what the backward pass begins with, as the loss itself may be scaled.
func (r *recompute[B]) backward(
	b B, x nn.Values, autocast func(func()), loss func(output nn.Values) (plain, scaled torch.Tensor, err error),
) (_ torch.Tensor, err error) {
	last := len(r.segments) - 1
	run := func(k int, input nn.Values) (out nn.Values) {
		autocast(func() { out = nn.RunStages(r.segments[k].stages, b, input) })
		return out
	}
	kept := make([]passed, last)
	for k := range kept {
		kept[k] = passed{x, r.generator.State(), clones(r.segments[k].buffers)}
		// Recorded and dropped, since layers take other kernels where nothing is recorded.
		x = torch.TidyAll(func() []torch.Tensor { return detached(run(k, leaves(x, k > 0))) })
	}
	results := torch.TidyAll(func() []torch.Tensor {
		var plain, scaled torch.Tensor
		input := leaves(x, last > 0)
		if plain, scaled, err = loss(run(last, input)); err != nil {
			return []torch.Tensor{plain}
		}
		scaled.Backward()
		return append(gradientsOf(input), plain.Detach())
	})
	gradients, plain := results[:len(results)-1], results[len(results)-1]
	if err != nil {
		return plain, err
	}
	after := r.generator.State()
	defer func() { r.generator.SetState(after) }()
	for k := last - 1; k >= 0; k-- {
		closeAll(x)
		x = kept[k].input
		given := gradients
		gradients = torch.TidyAll(func() []torch.Tensor {
			buffers := r.segments[k].buffers
			now := clones(buffers)
			r.generator.SetState(kept[k].random)
			put(buffers, kept[k].buffers)
			input := leaves(x, k > 0)
			out := run(k, input)
			// Behind the backward pass, for which batch norms keep their statistics.
			defer put(buffers, now)
			var roots, by []torch.Tensor
			for i, y := range out {
				if given[i].Defined() && y.Defined() && y.RequiresGrad() {
					roots, by = append(roots, y), append(by, given[i])
				}
			}
			if len(roots) > 0 {
				torch.Backward(roots, torch.BackwardOptions{Grads: by})
			}
			return gradientsOf(input)
		})
		closeAll(given)
		closeAll(append(kept[k].buffers, kept[k].random))
	}
	return plain, nil
}

// leaves gives values of their own for autograd, which collect gradients where asked.
func leaves(x nn.Values, collect bool) nn.Values {
	if x == nil {
		return nil
	}
	out := make(nn.Values, len(x))
	for i, t := range x {
		if out[i] = t; !t.Defined() || !collect {
			continue
		}
		if out[i] = t.Detach(); t.DType().IsFloat() {
			out[i].RequiresGrad_(true)
		}
	}
	return out
}

func detached(x nn.Values) []torch.Tensor {
	out := make([]torch.Tensor, len(x))
	for i, t := range x {
		if t.Defined() {
			out[i] = t.Detach()
		}
	}
	return out
}

// gradientsOf gives the gradients of leaves, undefined where there are none.
func gradientsOf(x nn.Values) []torch.Tensor {
	out := make([]torch.Tensor, len(x))
	for i, t := range x {
		if t.Defined() && t.RequiresGrad() {
			out[i] = t.Grad()
		}
	}
	return out
}

func clones(x []torch.Tensor) []torch.Tensor {
	out := make([]torch.Tensor, len(x))
	torch.NoGrad(func() {
		for i, t := range x {
			out[i] = t.Clone()
		}
	})
	return out
}

func put(to, from []torch.Tensor) {
	torch.NoGrad(func() {
		for i, t := range from {
			to[i].Copy_(t)
		}
	})
}
