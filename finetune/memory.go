package finetune

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/internal/cgroup"
	"github.com/thaw-ml/thaw/internal/quantity"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/data"
)

// checkMemory refuses a run some phase of which cannot fit: gradients and the optimizer's state are known before
// anything is computed, and the system ends a process that takes more memory than its container may, without a word.
// Where there is such a limit, what a step takes beside them is measured on a few samples.
func (r *run[B]) checkMemory(ctx context.Context) error {
	free := r.backend.FreeMemory()
	if free <= 0 { // unknown
		return nil
	}
	most := int64(0)
	for i := range r.options.Phases {
		needed, err := r.checkPhase(ctx, i, free)
		if r.mayShard() && (err != nil || 2*needed > free) { // beside activations, which may not be counted
			r.sharded = true
			needed, err = r.checkPhase(ctx, i, free)
		}
		if err != nil && r.options.Shared.drop(r.backend.Device()) { // what other runs left is computed again rather
			if err := r.giveBack(); err != nil {
				return err
			}
			free = r.backend.FreeMemory()
			needed, err = r.checkPhase(ctx, i, free)
		}
		if err != nil && !r.recompute && r.options.GradientCheckpointing == "auto" && r.limited() {
			r.recompute = true
			needed, err = r.checkPhase(ctx, i, free)
		}
		if err != nil {
			return err
		}
		most = max(most, needed)
	}
	// Blocks that are kept and do not fit the next batch take a multiple of what is in use.
	if r.limited() && 3*most > free {
		torch.GiveBackFreedMemory()
	}
	return nil
}

// giveBack has the system, or the device, count what was freed as free.
func (r *run[B]) giveBack() error {
	torch.GiveBackFreedMemory()
	return r.backend.EmptyCache()
}

// memoryLimit is train.MemoryLimit; tests set another.
var memoryLimit = train.MemoryLimit

// limited reports whether something ends a process that takes too much memory.
func (r *run[B]) limited() bool { return r.backend.Device().Type == torch.CPUType && memoryLimit() > 0 }

// checkPhase makes sure that a phase fits, and gives the memory that it needs as far as that is known.
func (r *run[B]) checkPhase(ctx context.Context, number int, free int64) (needed int64, err error) {
	plan, err := newPlan(r.options.Phases[number], r.forward.Stages)
	if err != nil {
		return 0, err
	}
	trained := 0
	for _, s := range plan.Stages {
		trained += s.Trainable
	}
	needed = r.stateBytes(trained)
	if needed > free {
		return 0, fmt.Errorf("phase %d trains %s parameters: their gradients and the optimizer's state take %s, activations not counted, and %s of %s "+
			"are free: train fewer stages, or allow more memory", number+1, count(trained), quantity.Bytes(needed), quantity.Bytes(free), r.memoryPlace(free))
	}
	if !r.limited() {
		return needed, nil
	}
	if _, err := r.chooseCache(plan); err != nil {
		return 0, err
	}
	if plan.Cached && !plan.CacheOnDisk {
		needed += plan.CacheBytes
	}
	step, rows, err := r.rehearse(ctx, plan)
	if err != nil {
		return 0, err
	}
	// What libtorch's allocator does not count: kernels and their scratch, and holes between blocks.
	step += step/2 + spare
	if needed+step > free {
		return 0, fmt.Errorf("phase %d: a step on %d samples takes about %s beside %s for gradients, the optimizer's state and kept output, and %s of %s are free: "+
			"smaller batches, shorter or smaller samples, or fewer trained stages take less; or allow more memory",
			number+1, rows, quantity.Bytes(step), quantity.Bytes(needed), quantity.Bytes(free), r.memoryPlace(free))
	}
	return needed + step, nil
}

// stateBytes is what gradients, the optimizer's state and an average take of so many trained values.
func (r *run[B]) stateBytes(trained int) int64 {
	state := int64(trained) * 4 * int64(r.options.Optimizer.slots())
	if r.sharded {
		state /= int64(r.options.Group.Size())
	}
	copies := int64(1)
	if r.options.EMA > 0 {
		copies++
	}
	return state + int64(trained)*4*copies
}

// mayShard reports whether the optimizer's state is to be divided among processes as soon as memory asks for it.
func (r *run[B]) mayShard() bool {
	return !r.sharded && r.options.Group.Size() > 1 && r.options.ShardOptimizer == "auto" && r.options.Optimizer.slots() > 0
}

// spare is memory for what grows beside tensors: kernels that are compiled for the shapes that come.
const spare = 128 << 20

// memoryPlace names the memory that so much is free of.
func (r *run[B]) memoryPlace(free int64) string {
	place := memoryOf(r.backend.Device())
	if r.backend.Device().Type == torch.CPUType {
		if l := cgroup.Read(); l.Memory > 0 && l.FreeMemory <= free {
			place += fmt.Sprintf(" (this process's control group, such as a container's, may use %s)", quantity.Bytes(l.Memory))
		}
	}
	return place
}

// rehearse forecasts the tensors that a step on the largest batch, and an evaluation, take at most: from what they take
// on 2 and on 4 of its samples. rows is the larger batch's samples.
func (r *run[B]) rehearse(ctx context.Context, plan *Plan) (bytes int64, rows int, err error) {
	plan.apply()
	defer plan.release()
	trainer, err := train.NewTrainer(train.Config[B]{
		Model: r.forward, Trained: plan.trained(), Objective: r.objective, Groups: plan.groups(0),
		Optimizer: r.options.Optimizer.build, Recompute: r.recompute, OnEvent: func(Event) error { return nil },
	})
	if err != nil {
		return 0, 0, err
	}
	defer trainer.Close()
	largest := largestOf(r.trainSampler.Evaluation(), r.train)
	rows = len(largest.Indices)
	computed := (rows + r.options.Group.Size() - 1) / r.options.Group.Size()
	if atATime := r.rowsAtATime(); atATime != nil {
		computed = min(computed, atATime(r.train.Length(largest.Indices[0])))
	}
	bytes, err = r.extrapolate(ctx, r.train, largest, computed, trainer.Rehearse)
	if err != nil || r.testLen() == 0 {
		return bytes, rows, err
	}
	largest = largestOf(r.testSampler.Evaluation(), r.test)
	evaluation, err := r.extrapolate(ctx, r.test, largest, len(largest.Indices), func(b B) error {
		return torch.ScopedErr(func() error {
			r.forward.Run(b, 0, len(r.forward.Stages))
			return nil
		})
	})
	if evaluation > bytes {
		bytes, rows = evaluation, len(largest.Indices)
	}
	return bytes, rows, err
}

// largestOf is the batch with the most samples times the longest one's length.
func largestOf(batches []data.Request, set interface{ Length(i int) int }) data.Request {
	return slices.MaxFunc(batches, func(a, b data.Request) int { return cmp.Compare(sizeOf(a, set), sizeOf(b, set)) })
}

// extrapolate measures what f takes on few samples of a batch, and gives what it would take on so many.
func (r *run[B]) extrapolate(ctx context.Context, set data.Dataset[B], asked data.Request, rows int, f func(B) error) (int64, error) {
	measure := func(n int) (int64, error) {
		some := asked
		some.Indices = asked.Indices[:n]
		some.Epoch = 1
		for b, err := range data.Batches(ctx, set, []data.Request{some}) {
			if err != nil {
				return 0, err
			}
			before := torch.Stats().Bytes
			torch.ResetPeak()
			if err := f(b); err != nil {
				return 0, err
			}
			return torch.Stats().PeakBytes - before, nil
		}
		return 0, nil
	}
	few, more := min(2, len(asked.Indices)), min(4, len(asked.Indices))
	a, err := measure(few)
	if err != nil || few == more {
		return a, err
	}
	b, err := measure(more)
	return b + max(0, b-a)*int64(max(0, rows-more))/int64(more-few), err
}

// slots is the number of values that the optimizer keeps for each trained value.
func (o Optimizer) slots() int {
	switch {
	case o.Name == "adamw":
		return 2
	case o.Momentum != 0:
		return 1
	}
	return 0
}
