package train

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/data"
	"github.com/thaw-ml/thaw/torch/dist"
)

// ErrStopped is the error of a process whose run was stopped by way of another one.
var ErrStopped = dist.ErrStopped

// together makes a step of several processes one step: each computes a part of the batch, and gradients, losses, errors and
// wishes to stop are those of all. A nil together is a process alone.
//
// A part's loss counts by its share of all samples, times the number of processes, since what is reduced are means over
// processes.
type together struct {
	group    *dist.Group
	seed     uint64
	known    []error      // see Config.Known
	stopping func() error // nil as long as this process need not stop
	queued   bool         // steps are queued on a device: nothing may wait for it
	wanted   bool         // a process has asked for the optimizer's state, see Config.Gather
	reducer  *dist.Reducer

	samples int     // of the step in hand, on all processes
	whole   bool    // each process has the whole batch
	of      float64 // the samples that a mean is over, for a part of this process: those of all over the number of processes
}

func newTogether(g *dist.Group, seed uint64, known []error, queued bool) *together {
	if g == nil {
		return nil
	}
	return &together{group: g, seed: seed, known: append([]error{ErrNotFinite}, known...), queued: queued}
}

// size is the number of processes.
func (t *together) size() int {
	if t == nil {
		return 1
	}
	return t.group.Size()
}

// within has the steps of an epoch stop when ctx ends: all processes between the same two.
func (t *together) within(ctx context.Context) context.Context {
	if t == nil {
		return ctx
	}
	t.stopping = func() error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return nil
	}
	return context.WithoutCancel(ctx)
}

// agree begins a step of which this process has so many samples, unless it has an error, and gives the samples of all. An
// error of one process is one of all, and so is its wish for the optimizer's state.
func (t *together) agree(own int, whole, wanted bool, err error) (samples int, _ error) {
	if t == nil {
		return own, err
	}
	if err == nil {
		err = t.stopping()
	}
	all, lost := t.group.Numbers("beginning a step", float64(own), dist.Flag(err != nil), dist.Flag(wanted))
	if lost != nil {
		return 0, errors.Join(err, lost)
	}
	failed := false
	t.wanted = false
	for _, n := range all {
		samples += int(n[0])
		failed, t.wanted = failed || n[1] != 0, t.wanted || n[2] != 0
	}
	if failed {
		return 0, t.group.Agree("training", err, t.known...)
	}
	if samples > 0 {
		t.of = float64(samples) / float64(t.size())
	}
	if whole {
		samples /= t.size()
	}
	t.samples, t.whole = samples, whole
	return samples, nil
}

// seedStep makes the random numbers of a step a function of the seed, the process and the step: each process draws others, and
// a run that is resumed needs no state of theirs.
func (t *together) seedStep(step int) error {
	if t != nil {
		x := t.seed ^ 0x9E3779B97F4A7C15*uint64(step+1) ^ 0xBF58476D1CE4E5B9*uint64(t.group.Rank()+1)
		x = (x ^ x>>30) * 0xBF58476D1CE4E5B9
		x = (x ^ x>>27) * 0x94D049BB133111EB
		x ^= x >> 31
		torch.ManualSeed(x)
		if t.queued {
			g, err := t.group.Device().Generator()
			if err != nil {
				return err
			}
			g.Seed(x)
		}
	}
	return nil
}

// sumOf is the sum of x over all processes, recorded by autograd; of a batch that each has as a whole, once.
func (t *together) sumOf(x torch.Tensor) torch.Tensor {
	sum := t.group.SumOf(x)
	if t.whole {
		sum = sum.MulScalar(1 / float64(t.size()))
	}
	return sum
}

// weight is the sum of an objective's weights of all processes' parts, over the number of processes.
func (t *together) weight(own torch.Tensor) (torch.Tensor, error) {
	if t == nil {
		return own, nil
	}
	own = own.Detach().To(torch.Float32).Clone()
	if err := t.group.AllReduce("adding up the weights of samples", dist.Sum, own); err != nil {
		return own, err
	}
	return own.MulScalar(1 / float64(t.size())), nil
}

// loss is the mean loss over all processes' samples, of what this one's parts came to.
func (t *together) loss(own torch.Tensor) (torch.Tensor, error) {
	if t == nil {
		return own, nil
	}
	if t.queued {
		return t.queuedLoss(own)
	}
	value := 0.0
	if own.Defined() {
		value = own.Item()
	}
	all, err := t.group.Numbers("adding up losses", value)
	if err != nil {
		return own, err
	}
	sum := 0.0
	for r, n := range all {
		if !finite(n[0]) {
			if r == t.group.Rank() {
				return own, ErrNotFinite // with the tensor's name, see explain
			}
			return own, &elsewhereError{r}
		}
		sum += n[0]
	}
	return torch.FromSlice([]float64{sum / float64(t.size())}).Select(0, 0), nil
}

// queuedLoss is loss on a device that is not waited for: whether the number is finite shows later, on all processes.
func (t *together) queuedLoss(own torch.Tensor) (torch.Tensor, error) {
	sum := torch.Zeros(torch.Float32, t.group.Device())
	torch.NoGrad(func() {
		if own.Defined() {
			sum.Copy_(own.Detach())
		}
	})
	if err := t.group.AllReduce("adding up losses", dist.Sum, sum); err != nil {
		return own, err
	}
	return sum.MulScalar(1 / float64(t.size())), nil
}

// elsewhereError is an ErrNotFinite on another process.
type elsewhereError struct{ rank int }

func (e *elsewhereError) Error() string {
	return fmt.Sprintf("%v (on rank %d, which says where)", ErrNotFinite, e.rank)
}
func (e *elsewhereError) Unwrap() error { return ErrNotFinite }

// arm makes the next backward pass reduce gradients as they come, from the second step on.
func (t *together) arm(yes bool) (armed bool, _ error) {
	if t == nil || t.reducer == nil || !yes {
		return false, nil
	}
	return true, t.reducer.Arm()
}

// reduce makes gradients the mean over all processes. Which parameters have any, the first step shows.
func (t *together) reduce(params []torch.Tensor) error {
	if t == nil {
		return nil
	}
	if t.reducer == nil {
		if err := t.newReducer(params); err != nil {
			return err
		}
	}
	return t.reducer.Reduce()
}

func (t *together) newReducer(params []torch.Tensor) (err error) {
	has := make([]float32, len(params))
	for i, p := range params {
		g := p.Grad()
		if g.Defined() {
			has[i] = 1
		}
		g.Close()
	}
	var reduced []torch.Tensor
	torch.Scoped(func() {
		any := torch.FromSlice(has)
		if err = t.group.AllReduce("finding out which parameters have gradients", dist.Max, any); err != nil {
			return
		}
		for i, yes := range torch.ToSlice[float32](any) {
			if yes != 0 {
				reduced = append(reduced, params[i])
			}
		}
	})
	if err != nil || reduced == nil {
		return err
	}
	t.reducer, err = t.group.NewReducer(reduced)
	return err
}

// abandon is for an error in the middle of a step. One that is not of all processes ends this one's part in the run.
func (t *together) abandon(err error) error {
	if t == nil || errors.Is(err, ErrNotFinite) { // see loss
		return err
	}
	return t.group.Abandon("training", err)
}

// waiting runs the forward and the backward pass of a part. Either may wait for the others, within operators that know nothing
// of ranks: an error of theirs becomes one that says which rank did not answer.
func (t *together) waiting(pass func() error) error {
	if t == nil {
		return pass()
	}
	begin := time.Now()
	return t.group.Failed("adding up gradients", begin, torch.TryErr(pass))
}

// ShareBuffers gives all processes the running statistics of rank 0, where each has its own.
func (t *Trainer[B]) ShareBuffers() error {
	tensors := slices.Clone(t.step.buffers)
	if a := t.step.average; a != nil {
		tensors = append(tensors, a.values...)
	}
	return t.config.Group.Broadcast("sending running statistics", 0, tensors...)
}

func (t *together) close() {
	if t != nil {
		t.reducer.Close()
		t.reducer = nil
	}
}

// shard are this process's parts of batches.
func (t *together) shard(asked []data.Request) []data.Request {
	if t == nil {
		return asked
	}
	return data.Shard(asked, t.group.Rank(), t.size())
}
