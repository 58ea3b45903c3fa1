package train

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/thaw-ml/thaw/finetune/train/metric"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/data"
	"github.com/thaw-ml/thaw/torch/dist"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/torch/optim"
)

// Config is what the steps of a Trainer consist of.
type Config[B data.Batch[B]] struct {
	Model   Forward[B]
	Trained []bool // of each stage: whether something in it is trained
	// Cache gives the output of the stages before the first trained one; nil runs them, without autograd, at every
	// step.
	Cache     PrefixCache[B]
	Objective Objective
	Groups    []*optim.Group // what is trained, with the highest learning rates
	// Optimizer makes the optimizer. rates is where it reads the learning rates, where that is defined.
	Optimizer func(groups []*optim.Group, rates torch.Tensor) optim.Optimizer
	Schedule  optim.Schedule
	ClipNorm  float64 // 0: no clipping
	// Rows gives the number of samples, padded to a width, that are computed at a time: the gradients of a larger batch are
	// accumulated over parts of so many. Batches are data.Slicers then. nil computes batches whole.
	Rows func(width int) int
	// Recompute has the backward pass compute the activations of each stage again in place of keeping them all (gradient
	// checkpointing): about a third more time for less memory, and the same numbers to the last bit. On a GPU steps run operator by
	// operator then.
	Recompute bool
	// Average, in (0, 1), is the decay of the exponential moving average that is kept of what is trained; 0 keeps none.
	Average float64
	// NoGraphs runs every step operator by operator on a GPU too. Expected is how often batches of a batch's shape come
	// in the phase: graphs are captured of shapes that come often.
	NoGraphs bool
	Expected func(b B) int
	// Deterministic says that a step computes the same each time, so that a captured step must be equal to it bit for
	// bit.
	Deterministic bool
	// CheckGradients is called once, in the first step, when there are gradients.
	CheckGradients func() error
	// BeforeUpdate is called in each step between the gradients and what changes weights and optimizer. On a device that
	// works beside the CPU it is called when that is queued, and not for a recorded step. It may be nil.
	BeforeUpdate func()
	// AfterStep is called after each step, before its event, between two steps: the trainer may be asked for its
	// Progress and State. An error ends the epoch. It may be nil.
	AfterStep func() error
	// Watch is told of the steps, to see how fast they are. It may be nil.
	Watch Watcher
	// OnEvent gets the events of steps; an error ends the epoch.
	OnEvent func(Event) error

	// Group are the processes that train together; nil is this one alone. A batch that is asked for is one of all of them:
	// each computes a part. On GPUs the group's device is the backend's.
	Group *dist.Group
	// Seed is what each process's random numbers come from, where there are several.
	Seed uint64
	// Known are errors of AfterStep and OnEvent that are the same error on all processes; others reach them as text.
	Known []error
	// Shard divides the optimizer's state among the processes of the group, see [dist.ShardedOptimizer].
	Shard bool
	// Gather, where the state is divided, is asked between two steps whether one process is to have all of it; Gathered is called
	// on all processes once rank 0's State lists it.
	Gather   func() bool
	Gathered func() error
	// LocalNorms has batch norms in training see each process's part by itself, with running statistics of rank 0, as
	// PyTorch's DistributedDataParallel does; else they see the whole batch, as its SyncBatchNorm.
	LocalNorms bool
}

// Watcher is told of an epoch's steps, on the goroutine and thread that makes them.
type Watcher interface {
	Begin() // an epoch's steps begin
	// Stepped comes after a step of so many samples, padded to width; its time is that since the call before. An error
	// ends the epoch.
	Stepped(samples, width int) error
}

// Position is how far a Trainer is.
type Position struct {
	Steps   int     // that were made
	Batches int     // of the epoch in hand, or of the last
	Samples int     // of these batches
	LossSum float64 // of loss times samples over these batches
}

// Trainer makes the optimizer steps of a phase.
type Trainer[B data.Batch[B]] struct {
	config   Config[B]
	step     *step[B]
	executor executor[B]
	top      []float64 // the groups' highest learning rates
	at       Position
	gathered []torch.Named // the whole optimizer's state, see Gather
	resumed  bool          // at is where the next epoch begins
	training bool          // an epoch's steps run
}

// NewTrainer makes a trainer. The trained parameters require gradients already. It is to be closed.
func NewTrainer[B data.Batch[B]](c Config[B]) (_ *Trainer[B], err error) {
	t := &Trainer[B]{config: c, step: newStep(c)}
	ready := false
	defer func() {
		if !ready { // an error, or a panic where memory ran short
			t.Close()
		}
	}()
	for _, g := range c.Groups {
		t.top = append(t.top, g.LR)
	}
	if t.step.together = newTogether(c.Group, c.Seed, c.Known, c.Model.Backend.Asynchronous()); c.Group != nil && !c.LocalNorms {
		for _, norm := range t.step.norms {
			norm.Sum = t.step.together.sumOf
		}
	}
	if c.Model.Precision == torch.Float16 {
		t.step.scaler = newScaler(c.Model.Backend.Device())
	}
	if c.Recompute {
		c.NoGraphs = true
		if t.step.recompute, err = newRecompute(c.Model, t.step.frozen); err != nil {
			return nil, err
		}
	}
	if c.Average > 0 {
		t.step.average = newAverage(c.Average, t.step.params, t.step.buffers)
	}
	if c.Model.Backend.Asynchronous() {
		t.executor = newGraphs(c, t.step, t.top)
	} else {
		t.executor = newEager(t.step, c.Cache)
		t.step.newOptimizer(c, torch.Tensor{})
	}
	ready = true
	return t, nil
}

// Epoch makes a step of every batch that is asked for and gives the mean loss of the samples. number counts epochs from
// 1.
func (t *Trainer[B]) Epoch(ctx context.Context, set data.Dataset[B], asked []data.Request, number int) (float64, error) {
	t.training = true
	t.Settle()
	defer func() {
		t.training = false
		t.Settle()
	}()
	if !t.resumed {
		t.at = Position{Steps: t.at.Steps}
	}
	t.resumed = false
	t.executor.begin(t.at.LossSum, t.at.Samples)
	if t.config.Watch != nil {
		t.config.Watch.Begin()
	}
	rates := make([]float64, len(t.top))
	together := t.step.together
	ctx = together.within(ctx)
	var told error // by AfterStep or OnEvent, for all processes
	asked = asked[t.at.Batches:]
	for l, err := range data.LoadAll(ctx, set, together.shard(asked), t.executor.pack()) {
		whole := false
		if len(asked) > 0 { // otherwise err says that ctx ended
			whole = data.Shared(asked[0], together.size())
			asked = asked[1:]
		}
		samples, err := together.agree(l.Samples, whole, t.wanted(), cmp.Or(err, told))
		if err == nil {
			err = t.gatherWanted()
		}
		if err != nil {
			return 0, err
		}
		if samples == 0 { // none of them can be read
			t.at.Batches++
			continue
		}
		if err := together.seedStep(t.at.Steps); err != nil {
			return 0, together.abandon(err)
		}
		factor := t.config.Schedule(t.at.Steps)
		for i := range rates {
			rates[i] = t.top[i] * factor
		}
		loss, err := t.executor.run(l, rates)
		switch {
		case err != nil:
			err = together.abandon(err)
		case finite(loss):
		case together != nil && together.queued: // the others may have read it at another step
			told = ErrNotFinite
		default:
			err = ErrNotFinite
		}
		if err != nil {
			return 0, fmt.Errorf("step %d: %w", t.at.Steps+1, err)
		}
		t.at.Steps++
		t.at.Batches++
		t.at.Samples += samples
		if t.config.AfterStep != nil {
			told = cmp.Or(told, t.config.AfterStep())
		}
		if t.config.Watch != nil && l.Samples > 0 {
			told = cmp.Or(told, t.config.Watch.Stepped(l.Samples, l.Batch.Width()))
		}
		if told != nil && together == nil {
			return 0, told
		}
		done := StepDone{Epoch: number, Step: t.at.Steps, Samples: t.at.Samples, Loss: loss, Measured: t.executor.measured(), LR: rates[len(rates)-1]}
		if told = cmp.Or(told, t.config.OnEvent(done)); told != nil && together == nil {
			return 0, told
		}
	}
	_, err := together.agree(0, false, t.wanted(), told)
	if err == nil {
		err = t.gatherWanted()
	}
	if err != nil {
		return 0, err
	}
	loss, err := t.executor.loss()
	if err == nil && !finite(loss) {
		err = ErrNotFinite
	}
	return loss, err
}

// Position waits for all steps and tells how far the trainer is.
func (t *Trainer[B]) Position() (at Position, err error) {
	at = t.at
	if !t.resumed { // otherwise nothing ran since
		at.LossSum, err = t.executor.sum()
	}
	return at, err
}

// Steps that were made, or queued.
func (t *Trainer[B]) Steps() int { return t.at.Steps }

// State lists the optimizer's tensors, see [optim.Optimizer], those of the loss scale and of the average. They are the
// trainer's own, not copies. Where the optimizer's state is divided it is what the last Gather brought.
func (t *Trainer[B]) State() []torch.Named {
	optimizer := t.gathered
	if t.step.sharded == nil {
		optimizer = t.step.optimizer.State()
	}
	return slices.Concat(optimizer, t.step.scaler.state(), t.step.average.state())
}

// Keeps reports whether Resume needs a tensor of State on this process.
func (t *Trainer[B]) Keeps(name string) bool {
	s := t.step.sharded
	return s == nil || s.Keeps(name) || slices.ContainsFunc(slices.Concat(t.step.scaler.state(), t.step.average.state()),
		func(n torch.Named) bool { return n.Name == name })
}

// Sharded reports whether the optimizer's state is divided among processes.
func (t *Trainer[B]) Sharded() bool { return t.step.sharded != nil }

// Gather brings the optimizer's state, where it is divided, to rank 0, until the next Gather. All processes call it, between the same
// two steps.
func (t *Trainer[B]) Gather() (err error) {
	if t.step.sharded == nil {
		return nil
	}
	t.dropGathered()
	t.gathered, err = t.step.sharded.Gather(0)
	return err
}

// Gathered reports whether a tensor of State is a copy that Gather made.
func (t *Trainer[B]) Gathered(name string) bool {
	return slices.ContainsFunc(t.gathered, func(n torch.Named) bool { return n.Name == name })
}

func (t *Trainer[B]) dropGathered() {
	for _, n := range t.gathered {
		n.Tensor.Close()
	}
	t.gathered = nil
}

// wanted reports whether this process asks for a Gather.
func (t *Trainer[B]) wanted() bool { return t.step.sharded != nil && t.config.Gather() }

// gatherWanted is Gather where any process has asked for it.
func (t *Trainer[B]) gatherWanted() error {
	if t.step.sharded == nil || !t.step.together.wanted {
		return nil
	}
	if err := t.Gather(); err != nil {
		return err
	}
	return t.config.Gathered()
}

// Resume goes on from where another trainer of the same configuration was: the next Epoch, which is to be asked for all of
// the epoch's batches, leaves out those that were done.
func (t *Trainer[B]) Resume(at Position, state []torch.Named) error {
	saved := map[string]torch.Tensor{}
	for _, n := range state {
		saved[n.Name] = n.Tensor
	}
	own := slices.Concat(t.step.scaler.state(), t.step.average.state())
	for _, n := range own {
		from, ok := saved[n.Name]
		if !ok || !slices.Equal(from.Shape(), n.Tensor.Shape()) {
			return fmt.Errorf("the checkpoint has no %s of shape %v", n.Name, n.Tensor.Shape())
		}
	}
	isOwn := func(n torch.Named) bool {
		return slices.ContainsFunc(own, func(o torch.Named) bool { return o.Name == n.Name })
	}
	optimizer := slices.DeleteFunc(slices.Clone(state), isOwn)
	if err := t.step.optimizer.Load(optimizer); err != nil {
		return err
	}
	torch.NoGrad(func() {
		for _, n := range own {
			n.Tensor.Copy_(saved[n.Name])
		}
	})
	t.at, t.resumed = at, true
	return nil
}

// Rehearse computes the gradients of a batch, as a step on the CPU does, and drops them: nothing is changed.
func (t *Trainer[B]) Rehearse(b B) error {
	t.training = true
	t.Settle()
	defer func() {
		t.training = false
		t.Settle()
	}()
	return torch.TryErr(func() (err error) {
		torch.Scoped(func() { err = t.step.rehearse(b) })
		return err
	})
}

// Evaluate measures the model between epochs, see [Forward.Evaluate]: with the average's weights, where one is kept.
func (t *Trainer[B]) Evaluate(ctx context.Context, set data.Dataset[B], e Evaluate[B]) (score metric.Score, err error) {
	err = t.executor.beside(func() (err error) {
		return t.Averaged(func() (err error) {
			score, err = t.config.Model.Evaluate(ctx, set, e)
			return err
		})
	})
	return score, err
}

// Averaged runs f while the model has the average's weights, where one is kept.
func (t *Trainer[B]) Averaged(f func() error) error {
	if t.step.average == nil {
		return f()
	}
	t.step.average.swap()
	defer t.step.average.swap()
	return f()
}

// Adopt gives the model the average's weights for good, where one is kept. No step may follow.
func (t *Trainer[B]) Adopt() {
	if t.step.average != nil {
		t.step.average.swap()
	}
}

// Skipped is the number of steps that the loss scale of float16 dropped since the trainer was made.
func (t *Trainer[B]) Skipped() int {
	if t.step.scaler == nil {
		return 0
	}
	return t.step.scaler.skipped
}

// Captured lists the shapes of batches whose steps are CUDA graphs.
func (t *Trainer[B]) Captured() []string {
	if g, ok := t.executor.(*graphs[B]); ok {
		return g.captured
	}
	return nil
}

// Settle puts the modules into the mode that the trainer needs, where something else has put them into another. While steps run,
// dropout and batch norms are on in the stages in which something is trained. A frozen stage stays as it is in evaluation
// wherever it stands: its running statistics are frozen too.
func (t *Trainer[B]) Settle() {
	if !t.training {
		t.config.Model.SetEvaluation()
		return
	}
	for i, s := range t.config.Model.Stages {
		nn.SetTraining(s.Module, t.config.Trained[i])
	}
}

// Close frees the optimizer's state and what lies on the device for steps.
func (t *Trainer[B]) Close() {
	t.dropGathered()
	if t.executor != nil {
		t.executor.close()
	}
	t.step.close()
}
