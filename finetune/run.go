package finetune

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"time"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/torch/optim"
)

// Result is what a run came to.
type Result struct {
	Folder     string  `json:"folder"`
	Before     Metrics `json:"before"` // with the new head, untrained
	Best       Metrics `json:"best"`
	BestEpoch  int     `json:"best_epoch"` // counted from 1 over all phases
	Last       Metrics `json:"last"`
	Epochs     []Epoch `json:"epochs"`
	Seconds    Seconds `json:"seconds"`
	Throughput float64 `json:"samples_per_second"` // of the training steps
	PeakBytes  int64   `json:"peak_memory_bytes"`  // resident, of the whole process
	// PeakDeviceBytes is what the run took of the GPU at most; 0 for runs on the CPU.
	PeakDeviceBytes int64     `json:"peak_device_memory_bytes,omitempty"`
	Seed            uint64    `json:"seed"`
	Versions        *Versions `json:"versions"`
}

// Epoch is a pass over the training rows.
type Epoch struct {
	Phase     int     `json:"phase"` // counted from 1
	Epoch     int     `json:"epoch"` // counted from 1 over all phases
	TrainLoss float64 `json:"train_loss"`
	Seconds   float64 `json:"seconds"`
	Test      Metrics `json:"test"`
}

// Seconds is where a run's time went.
type Seconds struct {
	Prefix   float64 `json:"prefix"` // running the frozen stages once
	Train    float64 `json:"train"`
	Evaluate float64 `json:"evaluate"`
	Total    float64 `json:"total"` // with reading and writing the weights
}

// run is the state of a Run.
type run[B Samples[B]] struct {
	spec     Spec
	model    Model[B]
	train    Dataset[B]
	test     Dataset[B]
	machine  machine
	report   Reporter
	folder   *folder
	result   Result
	trainSet sampler
	testSet  sampler
}

// Run fine-tunes model on train as spec says, evaluates it on test after every epoch, and leaves a run folder. test may
// be empty; then the last epoch counts as the best. A nil report watches in silence. The model is changed in place: at
// the end it holds the last weights. Runs on GPUs in one process take turns:
// none may be started from within another.
func Run[B Samples[B]](ctx context.Context, spec Spec, model Model[B], train, test Dataset[B], report Reporter) (_ *Result, err error) {
	// One thread for the whole run: libtorch keeps a pool of workers, and malloc an arena, for every thread that calls it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if report == nil {
		report = silent{}
	}
	if spec, err = spec.Resolved(); err != nil {
		return nil, err
	}
	if err := spec.ChooseDevice(); err != nil {
		return nil, err
	}
	if train.Len() == 0 {
		return nil, errors.New("there is nothing to train on: the training data has no rows")
	}
	if err := spec.CheckPhases(model.Stages()); err != nil {
		return nil, err
	}
	m, err := newMachine(&spec)
	if err != nil {
		return nil, err
	}
	return runOn(ctx, m, spec, model, train, test, report)
}

// runOn is Run of a spec that is resolved and was checked.
func runOn[B Samples[B]](ctx context.Context, m machine, spec Spec, model Model[B], train, test Dataset[B], report Reporter) (_ *Result, err error) {
	began := time.Now()
	r := newRun(spec, model, train, test, m, report)
	if r.folder, err = createFolder(&r.spec); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			r.folder.abandon(err)
		}
	}()
	if err := model.SaveConfig(r.folder.weights()); err != nil {
		return nil, fmt.Errorf("writing the model's config: %w", err)
	}
	failure := torch.Try(func() {
		err = m.within(ctx, func() error {
			return r.at(m.device(), func() error {
				for i := range spec.Phases {
					if err := r.phase(ctx, i); err != nil {
						return err
					}
				}
				r.result.PeakDeviceBytes = m.peak()
				return nil
			})
		})
	})
	if err = spec.mendMemory(errors.Join(err, failure)); err != nil {
		return nil, err
	}
	return r.finish(began)
}

// newRun is a run of a spec that is resolved, with everything but a folder.
func newRun[B Samples[B]](spec Spec, model Model[B], train, test Dataset[B], m machine, report Reporter) *run[B] {
	r := &run[B]{spec: spec, model: model, train: train, test: test, machine: m, report: report}
	if spec.Threads > 0 {
		torch.SetNumThreads(spec.Threads)
	}
	torch.ManualSeed(spec.Seed)
	stopTraining(model)
	r.trainSet = newSampler(train, spec.Batch.Size, spec.Batch.Tokens)
	if m != (host{}) {
		r.trainSet.buckets = chooseBuckets(r.trainSet.lengths)
		if l, ok := any(model).(interface{ Longest() int }); ok && r.trainSet.buckets != nil {
			last := &r.trainSet.buckets[len(r.trainSet.buckets)-1]
			*last = min(*last, l.Longest())
		}
	}
	r.testSet = newSampler(test, spec.Batch.EvalSize, 0)
	return r
}

// move takes all parameters and buffers to a device.
func (r *run[B]) move(device torch.Device) {
	for _, n := range r.state() {
		n.Tensor.MoveTo(device)
	}
}

// at runs f with the model on a device, and takes it back to the CPU whatever comes.
func (r *run[B]) at(device torch.Device, f func() error) (err error) {
	defer func() { err = errors.Join(err, torch.Try(func() { r.move(torch.CPU) })) }()
	r.move(device)
	return f()
}

// CheckPhases makes sure that every phase trains something that a model of these stages has, so that a wrong name in the
// last one costs nothing. The parameters need no values.
func (s *Spec) CheckPhases(stages []Stage) error {
	for i, phase := range s.Phases {
		if _, err := newPlan(phase, stages); err != nil {
			return s.Errorf(fmt.Sprintf("phases[%d].train", i), "%v", err)
		}
	}
	return nil
}

// phase trains one phase: frozen stages once, then epochs of steps on the others.
func (r *run[B]) phase(ctx context.Context, number int) error {
	phase := r.spec.Phases[number]
	plan, err := r.plan(phase)
	if err != nil {
		return err
	}
	r.report.Planned(number, plan)
	if err := r.folder.writePlan(number, plan); err != nil {
		return err
	}
	t, err := r.begin(ctx, plan)
	if err != nil {
		return err
	}
	defer t.Close()
	if number == 0 && r.test.Len() > 0 {
		if r.result.Before, err = r.evaluate(ctx, "before", plan, t.testCache); err != nil {
			return err
		}
	}
	for range phase.Epochs {
		if err := r.epoch(ctx, number, t); err != nil {
			return err
		}
	}
	if err := t.promise.check(); err != nil {
		return err
	}
	r.report.Note("check", "frozen tensors unchanged · every trained stage moved")
	return nil
}

// plan says what a phase will do.
func (r *run[B]) plan(phase Phase) (*Plan, error) {
	plan, err := newPlan(phase, r.model.Stages())
	if err != nil {
		return nil, err
	}
	plan.Rows = r.train.Len()
	plan.Batches = len(r.trainSet.training(r.spec.Seed, 1))
	plan.Steps = plan.Batches * phase.Epochs
	return plan, r.planCache(plan)
}

// epoch trains on every row once, evaluates, and saves the weights.
func (r *run[B]) epoch(ctx context.Context, phase int, t *trainer[B]) error {
	number := len(r.result.Epochs) + 1
	began := time.Now()
	r.report.Begin(fmt.Sprintf("epoch %d", number), r.train.Len())
	loss, err := t.epoch(ctx, t.requests(number))
	if err != nil {
		return fmt.Errorf("epoch %d: %w", number, err)
	}
	e := Epoch{Phase: phase + 1, Epoch: number, TrainLoss: loss, Seconds: time.Since(began).Seconds()}
	r.result.Seconds.Train += e.Seconds
	if r.test.Len() > 0 {
		if e.Test, err = t.evaluate(ctx); err != nil {
			return err
		}
		r.report.End(&e.Test)
	} else {
		r.report.End(nil)
	}
	r.result.Epochs = append(r.result.Epochs, e)
	r.result.Last = e.Test
	if best := r.test.Len() == 0 || number == 1 || e.Test.Accuracy > r.result.Best.Accuracy; best {
		r.result.Best, r.result.BestEpoch = e.Test, number
		if err := r.folder.saveWeights("best", r.state()); err != nil {
			return err
		}
	}
	return r.folder.writeMetrics(r.result.Epochs)
}

// finish writes the last weights and the summary.
func (r *run[B]) finish(began time.Time) (*Result, error) {
	if err := r.folder.saveWeights("last", r.state()); err != nil {
		return nil, err
	}
	res := &r.result
	res.Folder, res.Seed, res.Versions = r.folder.path, r.spec.Seed, currentVersions()
	res.PeakBytes = peakResident()
	res.Seconds.Total = time.Since(began).Seconds()
	if res.Seconds.Train > 0 {
		res.Throughput = float64(r.train.Len()*len(res.Epochs)) / res.Seconds.Train
	}
	return res, r.folder.writeSummary(res)
}

// state is all that a checkpoint of the model holds.
func (r *run[B]) state() []torch.Named {
	var out []torch.Named
	for _, s := range r.model.Stages() {
		for _, n := range nn.State(s.Module) {
			out = append(out, torch.Named{Name: s.Prefix + n.Name, Tensor: n.Tensor})
		}
	}
	return out
}

func newOptimizer(o Optimizer, groups []*optim.Group, rates torch.Tensor) optim.Optimizer {
	if o.Name == "sgd" {
		return optim.NewSGD(optim.SGDOptions{Momentum: *o.Momentum, Nesterov: o.Nesterov, Rates: rates}, groups...)
	}
	return optim.NewAdamW(optim.AdamWOptions{Beta1: o.Betas[0], Beta2: o.Betas[1], Eps: o.Eps, Rates: rates}, groups...)
}

// withPrecision runs f with autocast where the spec asks for it.
func (r *run[B]) withPrecision(f func()) {
	if r.spec.Precision == "bfloat16" {
		torch.Autocast(torch.BFloat16, f)
		return
	}
	f()
}

var errNotFinite = errors.New("the loss is not a finite number: a lower learning rate, or clip_norm, may help")
