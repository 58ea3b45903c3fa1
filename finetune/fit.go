package finetune

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"time"

	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/finetune/train/metric"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/data"
	"github.com/thaw-ml/thaw/torch/nn"
)

// Fit fine-tunes model on trainSet as o says, and evaluates it on testSet after every epoch. Without test samples,
// testSet being nil or empty, the last epoch counts as the best. The model is changed in place: at the end it holds the
// last weights, on the CPU. Nothing is written unless o names a folder. Training runs in one process take turns, since
// libtorch's random generators belong to the process: none may be started from within another.
func Fit[B data.Batch[B]](ctx context.Context, model Model[B], trainSet, testSet data.Dataset[B], o Options) (*Result, error) {
	// One thread for the whole run: libtorch keeps a pool of workers, and malloc an arena, for every thread that calls
	// it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	o, err := o.resolved()
	if err != nil {
		return nil, err
	}
	if isNil(trainSet) || trainSet.Len() == 0 {
		return nil, errors.New("there is nothing to train on: the training data has no rows")
	}
	if isNil(testSet) {
		testSet = nil
	}
	if err := CheckPhases(model, o.Phases); err != nil {
		return nil, err
	}
	if err := checkBest(model, o); err != nil {
		return nil, err
	}
	if err := checkWatched(o, testSet != nil && testSet.Len() > 0); err != nil {
		return nil, err
	}
	if _, ok := any(*new(B)).(data.Slicer[B]); !ok && o.Batch.Accumulate > 1 {
		return nil, fmt.Errorf("finetune: Options.Batch.Accumulate: batches of type %T have no method Slice, by which they are computed in parts", *new(B))
	}
	backend, precision, err := newBackend(o)
	if err != nil {
		return nil, err
	}
	return fitOn(ctx, backend, precision, model, trainSet, testSet, o)
}

// fitOn is Fit with options that are resolved and were checked.
func fitOn[B data.Batch[B]](
	ctx context.Context, backend train.Backend, precision torch.DType, model Model[B], trainSet, testSet data.Dataset[B], o Options,
) (*Result, error) {
	return newRun(backend, precision, model, trainSet, testSet, o).fit(ctx)
}

// fit runs a run from its folder to its summary.
func (r *run[B]) fit(ctx context.Context) (_ *Result, err error) {
	r.began = time.Now()
	if err := r.join(); err != nil {
		return nil, err
	}
	if err := r.settlePrecision(ctx); err != nil {
		return nil, err
	}
	if err := r.openTogether(); err != nil {
		return nil, err
	}
	defer beginTraining(r.model, r.settle)()
	o := r.options
	defer o.Folder.leave()
	defer func() {
		if err != nil {
			o.Folder.abandon(err)
		}
	}()
	defer r.resuming.close()
	defer r.checkpoints.close()
	if err := r.within(ctx, func() error { return r.phases(ctx) }); err != nil {
		return nil, r.adviseOnMemory(err)
	}
	saved := r.save("last")
	if errors.Is(saved, Stop) {
		saved = nil
	}
	if err := r.agreeOn("writing the last weights", saved); err != nil {
		return nil, err
	}
	r.sumUp()
	r.result.Folder = o.Folder.Path()
	r.result.Seconds.Total = r.elapsed + time.Since(r.began).Seconds()
	if err := r.agreeOn("writing the summary", o.Folder.writeSummary(&r.result)); err != nil {
		return &r.result, err
	}
	return &r.result, o.Folder.over()
}

// settle puts the modules back into the mode that the run has them in.
func (r *run[B]) settle() {
	if r.trainer != nil {
		r.trainer.Settle()
	}
}

// open makes the run folder, or takes the one that is there and finds the checkpoint to go on from.
func (r *run[B]) open() (err error) {
	f := r.options.Folder
	if r.verify {
		return r.openToVerify()
	}
	r.checkpoints = newCheckpoints(f, r.options.Checkpoint)
	if r.checkpoints != nil || r.options.Resume {
		if r.identity, err = r.identify(); err != nil {
			return err
		}
	}
	if !r.options.Resume {
		return f.create(r.model)
	}
	if f == nil { // rank 0 tells
		return nil
	}
	if err := f.reopen(r.model); err != nil {
		return err
	}
	if r.resuming, err = f.openCheckpoint(r.identity); err != nil {
		f.leave()
		return err
	}
	if r.resuming == nil { // from the start, with files as new
		return f.fill(r.model)
	}
	r.goOn()
	return nil
}

// goOn puts the run's own record back to that of the checkpoint.
func (r *run[B]) goOn() {
	r.result, r.elapsed, r.number = r.resuming.Result, r.resuming.Elapsed, r.resuming.Phase
	r.steps = r.resuming.Step - r.resuming.At.Steps
}

// within runs f while the run has the device and the random generators, with the model and the objective on the device. It
// takes the model back to the CPU whatever comes.
func (r *run[B]) within(ctx context.Context, f func() error) error {
	onDevice := func() (err error) {
		// 0, too: this OS thread may have the number of a run before.
		defer torch.SetNumThreads(torch.SetNumThreads(r.options.Threads))
		defer func() { err = errors.Join(err, torch.Try(func() { r.move(torch.CPU) })) }()
		r.start()
		defer r.placeObjective()()
		return f()
	}
	return torch.TryErr(func() error {
		return train.TrainingLock.Within(ctx, func() error { return r.backend.Within(ctx, onDevice) })
	})
}

// phases trains all phases.
func (r *run[B]) phases(ctx context.Context) (err error) {
	if err := r.agreeOn("looking for memory", r.checkMemory(ctx)); err != nil {
		return err
	}
	if err := r.agreeOnSparing(); err != nil {
		return err
	}
	var loaded error
	if r.resuming != nil && r.resuming.file != nil {
		loaded = r.resuming.loadModel(nn.StageState(r.forward.Stages))
	}
	if err := r.agreeOn("reading the checkpoint", loaded); err != nil {
		return err
	}
	if err := r.shareModel(); err != nil {
		return err
	}
	unfold, failure := r.checkFolding()
	defer unfold()
	if err := r.agreeOn("comparing folded with unfolded norms", failure); err != nil {
		return err
	}
	for ; r.number < len(r.options.Phases); r.number++ {
		if err = r.phase(ctx, r.number); err != nil {
			break
		}
	}
	r.result.PeakDeviceBytes = r.backend.Peak()
	if errors.Is(err, Stop) {
		r.result.Stopped, err = true, nil
	}
	return err
}

// placeObjective brings the objective's own tensors to the device and gives what undoes that. A type that only embeds one
// that can be placed stays as it is: what On gives is not of that type.
func (r *run[B]) placeObjective() (undo func()) {
	placed, ok := r.objective.(train.Placed)
	if !ok {
		return func() {}
	}
	plain := r.objective
	there, release := placed.On(r.backend.Device())
	if reflect.TypeOf(there) == reflect.TypeOf(plain) {
		r.objective = there
	}
	return func() {
		r.objective = plain
		release()
	}
}

// start sets what belongs to the process, or to the model, before the first phase.
func (r *run[B]) start() {
	torch.ManualSeed(r.options.Seed)
	r.forward.SetEvaluation()
	r.move(r.backend.Device())
}

// phase trains one phase: frozen stages once, then epochs of steps on the others.
func (r *run[B]) phase(ctx context.Context, number int) error {
	plan, err := r.plan(r.options.Phases[number])
	if err != nil {
		return err
	}
	if err := r.emit(Planned{number + 1, len(r.options.Phases), plan}); err != nil {
		return err
	}
	if err := r.options.Folder.writePlan(number, plan); err != nil {
		return err
	}
	p, err := r.begin(ctx, plan)
	if err != nil {
		return r.saveIfInterrupted(ctx, nil, err)
	}
	defer p.Close()
	defer r.checkpoints.finished(true) // it reads tensors that the next phase may change
	if s := r.resuming; s != nil {
		if err := r.restore(p, s); err != nil {
			return err
		}
		s.close()
		r.resuming = nil
		if err := r.emit(Resumed{s.path, s.Step, s.At.Steps, s.At.Samples, r.result.Epochs}); err != nil {
			return err
		}
	}
	if err := r.epochs(ctx, number, p); err != nil {
		r.checkpoints.copied()
		if errors.Is(err, Stop) {
			p.trainer.Adopt()
		}
		return r.saveIfInterrupted(ctx, p, err)
	}
	r.checkpoints.copied()
	p.trainer.Adopt()
	if err := r.tellSkipped(p); err != nil {
		return err
	}
	r.steps += p.trainer.Steps()
	if err := r.collect(true); err != nil {
		return err
	}
	return r.emit(FreezeChecked{number + 1})
}

// saveIfInterrupted writes a checkpoint where a phase was stopped from outside. p is nil where it had not begun.
func (r *run[B]) saveIfInterrupted(ctx context.Context, p *phase[B], err error) error {
	trained := r.steps
	if p != nil {
		trained += p.trainer.Steps()
	}
	if r.resuming != nil || !interrupted(ctx, err) || trained == 0 {
		return err // what it went on from, or nothing, is all there is
	}
	if p != nil && r.sharded && r.options.Checkpoint.on() { // on all processes
		err = errors.Join(err, r.collect(true), p.trainer.Gather())
	}
	if r.checkpoints == nil {
		return err
	}
	return errors.Join(err, r.checkpoint(p, true))
}

// epochs trains the epochs of a phase that are left.
func (r *run[B]) epochs(ctx context.Context, number int, p *phase[B]) (err error) {
	if number == 0 && r.testLen() > 0 && r.result.Before.Rows == 0 {
		if r.result.Before, err = r.baseline(ctx, p); err != nil {
			return err
		}
	}
	done, over := 0, false
	for _, e := range r.result.Epochs {
		if e.Phase == number+1 {
			done++
			_, over = p.watch(e.Test)
		}
	}
	for ; done < r.options.Phases[number].Epochs && !over; done++ {
		over, err = r.epoch(ctx, number, p)
		if err = r.agreeOnEpoch(err); err != nil {
			return err
		}
	}
	return p.check.compare()
}

// epoch trains on every sample once, evaluates, and saves the weights. over says that the phase ends early.
func (r *run[B]) epoch(ctx context.Context, phase int, p *phase[B]) (over bool, err error) {
	number := len(r.result.Epochs) + 1
	task := train.Task{Kind: train.Training, Epoch: number}
	if err := r.emit(train.TaskStarted{Task: task, Samples: r.train.Len()}); err != nil {
		return false, err
	}
	began := time.Now()
	r.inEpoch = true
	loss, err := p.trainer.Epoch(ctx, r.train, p.requests(number), number)
	if err != nil {
		return false, fmt.Errorf("epoch %d: %w", number, err)
	}
	if err := p.trainer.ShareBuffers(); err != nil {
		return false, fmt.Errorf("epoch %d: %w", number, err)
	}
	if err := r.checkEqual(fmt.Sprint("epoch ", number)); err != nil {
		return false, err
	}
	e := Epoch{Phase: phase + 1, Number: number, TrainLoss: loss, Seconds: time.Since(began).Seconds()}
	r.result.Seconds.Train += e.Seconds
	done := train.TaskDone{Task: task, Samples: r.train.Len(), Loss: loss, Elapsed: time.Since(began)}
	var score metric.Score
	if r.testLen() > 0 {
		if score, err = r.evaluate(ctx, p, nil); err != nil {
			return false, err
		}
		done.Score = &score
	}
	e.Test = score.WithoutClasses()
	r.result.Epochs, r.result.Last = append(r.result.Epochs, e), score
	r.inEpoch = false
	told := r.emit(done)
	if told != nil && !errors.Is(told, Stop) {
		return false, told
	}
	best := r.isBest(score)
	var saved error
	if best {
		r.result.Best, r.result.BestEpoch = score, number
		if saved = p.trainer.Averaged(func() error { return r.save("best") }); saved != nil && !errors.Is(saved, Stop) {
			return false, saved
		}
	}
	if err := r.options.Folder.writeMetrics(r.result.Epochs); err != nil {
		return false, err
	}
	if err := cmp.Or(told, saved); err != nil {
		return false, err
	}
	if err := r.emit(EpochDone{e, best}); err != nil {
		return false, err
	}
	return r.watched(p, e)
}

// watched acts on what the phase's evaluations have come to with an epoch.
func (r *run[B]) watched(p *phase[B], e Epoch) (over bool, err error) {
	lowered, over := p.watch(e.Test)
	if over {
		r.result.StoppedEarly = append(r.result.StoppedEarly, e.Phase)
		s := p.stopping
		return true, r.emit(StoppedEarly{e.Phase, e.Number, s.best.Name, s.best.Value, s.Patience})
	}
	if lowered {
		return false, r.emit(RateLowered{e.Number, p.plateau.Scale()})
	}
	return false, nil
}
