package finetune

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/finetune/train/metric"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/data"
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
	backend, precision, err := newBackend(o)
	if err != nil {
		return nil, err
	}
	return fitOn(ctx, backend, precision, model, trainSet, testSet, o)
}

// fitOn is Fit with options that are resolved and were checked.
func fitOn[B data.Batch[B]](
	ctx context.Context, backend train.Backend, precision torch.DType, model Model[B], trainSet, testSet data.Dataset[B], o Options,
) (_ *Result, err error) {
	began := time.Now()
	r := newRun(backend, precision, model, trainSet, testSet, o)
	if err := o.Folder.create(model); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			o.Folder.abandon(err)
		}
	}()
	err = torch.TryErr(func() error {
		return train.TrainingLock.Within(ctx, func() error { return backend.Within(ctx, func() error { return r.phases(ctx) }) })
	})
	if err != nil {
		return nil, r.adviseOnMemory(err)
	}
	if err := r.save("last"); err != nil && !errors.Is(err, Stop) {
		return nil, err
	}
	r.sumUp()
	r.result.Folder = o.Folder.Path()
	r.result.Seconds.Total = time.Since(began).Seconds()
	return &r.result, o.Folder.writeSummary(&r.result)
}

// phases trains all phases with the model on the device, and takes it back to the CPU whatever comes.
func (r *run[B]) phases(ctx context.Context) (err error) {
	// 0, too: this OS thread may have the number of a run before.
	defer torch.SetNumThreads(torch.SetNumThreads(r.options.Threads))
	defer func() { err = errors.Join(err, torch.Try(func() { r.move(torch.CPU) })) }()
	r.start()
	if err := r.checkMemory(); err != nil {
		return err
	}
	for i := range r.options.Phases {
		if err = r.phase(ctx, i); err != nil {
			break
		}
	}
	r.result.PeakDeviceBytes = r.backend.Peak()
	if errors.Is(err, Stop) {
		r.result.Stopped, err = true, nil
	}
	return err
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
		return err
	}
	defer p.Close()
	if number == 0 && r.testLen() > 0 {
		if r.result.Before, err = r.baseline(ctx, p); err != nil {
			return err
		}
	}
	for range r.options.Phases[number].Epochs {
		if err := r.epoch(ctx, number, p); err != nil {
			return err
		}
	}
	if err := p.check.compare(); err != nil {
		return err
	}
	return r.emit(FreezeChecked{number + 1})
}

// epoch trains on every sample once, evaluates, and saves the weights.
func (r *run[B]) epoch(ctx context.Context, phase int, p *phase[B]) error {
	number := len(r.result.Epochs) + 1
	task := train.Task{Kind: train.Training, Epoch: number}
	if err := r.emit(train.TaskStarted{Task: task, Samples: r.train.Len()}); err != nil {
		return err
	}
	began := time.Now()
	loss, err := p.trainer.Epoch(ctx, r.train, p.requests(number), number)
	if err != nil {
		return fmt.Errorf("epoch %d: %w", number, err)
	}
	e := Epoch{Phase: phase + 1, Number: number, TrainLoss: loss, Seconds: time.Since(began).Seconds()}
	r.result.Seconds.Train += e.Seconds
	done := train.TaskDone{Task: task, Samples: r.train.Len(), Loss: loss, Elapsed: time.Since(began)}
	var score metric.Score
	if r.testLen() > 0 {
		if score, err = r.evaluate(ctx, p, nil); err != nil {
			return err
		}
		done.Score = &score
	}
	e.Test = score.WithoutClasses()
	r.result.Epochs, r.result.Last = append(r.result.Epochs, e), score
	told := r.emit(done)
	if told != nil && !errors.Is(told, Stop) {
		return told
	}
	best := r.isBest(score)
	var saved error
	if best {
		r.result.Best, r.result.BestEpoch = score, number
		if saved = r.save("best"); saved != nil && !errors.Is(saved, Stop) {
			return saved
		}
	}
	if err := r.options.Folder.writeMetrics(r.result.Epochs); err != nil {
		return err
	}
	if err := cmp.Or(told, saved); err != nil {
		return err
	}
	return r.emit(EpochDone{e, best})
}
