package finetune

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/finetune/train/metric"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/data"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/torch/optim"
)

// run is the state of a Fit.
type run[B data.Batch[B]] struct {
	options      Options // resolved
	model        Model[B]
	objective    train.Objective
	train, test  data.Dataset[B] // test may be nil
	backend      train.Backend
	forward      train.Forward[B]
	trainSampler data.Sampler
	testSampler  data.Sampler
	result       Result

	checkpoints *checkpoints // nil: none are written
	resuming    *resuming    // until its phase has begun
	verify      bool         // see Verify
	from        string       // with verify: the checkpoint that the run goes on from
	wanted      *resuming    // with verify: where the run is to come to
	identity    string
	began       time.Time
	elapsed     float64           // seconds of the run before it was interrupted
	number      int               // of the phase, from 0
	steps       int               // of the phases before
	trainer     *train.Trainer[B] // of the phase
	ramp        optim.Schedule    // in place of the phase's, see FindRate
	probe       *probe            // see EstimateCost: caches are filled for a few batches alone
	inEpoch     bool              // the epoch's steps were begun, and it is not evaluated yet
	sharded     bool              // the optimizer's state is divided among processes
	wantsState  bool              // for a checkpoint, where it is
	recompute   bool              // activations are computed again in the backward pass
}

func newRun[B data.Batch[B]](
	backend train.Backend, precision torch.DType, model Model[B], trainSet, testSet data.Dataset[B], o Options,
) *run[B] {
	r := &run[B]{
		options: o, model: model, objective: o.Objective, train: trainSet, test: testSet, backend: backend,
		forward: train.Forward[B]{Stages: model.Stages(), Backend: backend, Precision: precision},
	}
	r.sharded = o.ShardOptimizer == "on" && o.Group.Size() > 1
	r.recompute = o.GradientCheckpointing == "on"
	if r.objective == nil {
		r.objective = model.Objective()
	}
	parts := max(1, o.Batch.Accumulate)
	sampling := data.SamplerOptions{Size: parts * o.Batch.Size, Tokens: parts * o.Batch.Tokens, FixedShapes: backend.Asynchronous()}
	if l, ok := model.(LengthLimiter); ok {
		sampling.MaxLength = l.MaxLength()
	}
	r.trainSampler = data.NewSampler(trainSet, sampling)
	if testSet != nil {
		r.testSampler = data.NewSampler(testSet, data.SamplerOptions{Size: o.Batch.EvalSize})
	}
	return r
}

func (r *run[B]) testLen() int {
	if r.test == nil {
		return 0
	}
	return r.test.Len()
}

// move takes all parameters and buffers to a device.
func (r *run[B]) move(device torch.Device) {
	for _, n := range nn.StageState(r.forward.Stages) {
		n.Tensor.MoveTo(device)
	}
}

func (r *run[B]) emit(e Event) error {
	if r.options.OnEvent == nil {
		return nil
	}
	return r.options.OnEvent(e)
}

func (r *run[B]) warn(kind train.WarningKind, format string, args ...any) error {
	return r.emit(train.Warning{Kind: kind, Text: fmt.Sprintf(format, args...)})
}

// save writes the weights, where there is a folder.
func (r *run[B]) save(name string) error {
	path, err := r.saveWeights(name)
	if err != nil || path == "" {
		return err
	}
	return r.emit(Saved{path})
}

// adviseOnMemory adds to an error that memory ran short what makes a run take less.
func (r *run[B]) adviseOnMemory(err error) error {
	if !errors.Is(err, torch.ErrOutOfMemory) {
		return err
	}
	return fmt.Errorf("%w; smaller batches (now %d samples, in evaluation %d), smaller or shorter samples, or fewer trained "+
		"stages take less", err, r.options.Batch.Size, r.options.Batch.EvalSize)
}

// plan says what a phase will do.
func (r *run[B]) plan(phase Phase) (*Plan, error) {
	plan, err := newPlan(phase, r.forward.Stages)
	if err != nil {
		return nil, err
	}
	plan.Rows = r.train.Len()
	plan.Batches = len(r.trainSampler.Training(r.options.Seed, 1))
	plan.Sharded = r.sharded
	plan.Steps = plan.Batches * phase.Epochs
	return plan, r.agreeOnCache(plan, r.planCache(plan))
}

// phase is what lives for one phase.
type phase[B data.Batch[B]] struct {
	run                   *run[B]
	plan                  *Plan
	check                 *freezeCheck
	trainCache, testCache *cache[B] // nil: the frozen stages run at every step
	trainer               *train.Trainer[B]
	changes               map[string]bool // what steps write, by name
	plateau               *optim.Plateau  // nil unless the schedule is one
	stopping              stopping        // early
	watcher               *watcher        // of the steps; nil where there is nothing to choose
}

// begin prepares a phase: it enables gradients on the trainable parameters, fills the caches of the frozen stages'
// output, and builds schedule and optimizer.
func (r *run[B]) begin(ctx context.Context, plan *Plan) (_ *phase[B], err error) {
	p := &phase[B]{
		run: r, plan: plan, plateau: plan.Phase.plateau(), stopping: stopping{EarlyStopping: r.options.EarlyStopping},
	}
	ready := false
	defer func() {
		if !ready { // an error, or a panic of the model's
			p.Close()
		}
	}()
	plan.apply()
	p.changes = plan.changes()
	p.check = newFreezeCheck(plan)
	if p.trainCache, p.testCache, err = r.fillCaches(ctx, plan); err != nil {
		return nil, err
	}
	schedule, err := plan.Phase.schedule(plan.Steps, plan.Batches)
	if err != nil {
		return nil, err
	}
	if r.ramp != nil {
		schedule = r.ramp
	}
	p.watcher = r.newWatcher()
	p.trainer, err = train.NewTrainer(train.Config[B]{
		Model: r.forward, Trained: plan.trained(), Cache: prefixCache(p.trainCache), Objective: r.objective,
		Groups: plan.groups(r.options.Optimizer.WeightDecay), Optimizer: r.options.Optimizer.build,
		Schedule: func(step int) float64 { return schedule(step) * p.plateau.Scale() },
		Rows:     r.rowsAtATime(), Average: r.options.EMA, ClipNorm: r.options.ClipNorm, NoGraphs: r.options.NoGraphs, Expected: p.expected(plan.Phase.Epochs),
		Deterministic: r.options.Deterministic, AfterStep: func() error { return r.afterStep(p) }, BeforeUpdate: r.beforeUpdate, Watch: p.watcher.orNil(), OnEvent: r.emit,
		CheckGradients: func() error {
			if err := p.check.gradients(); err != nil {
				return err
			}
			return r.emit(train.GradientsChecked{Tensors: plan.numTrained()})
		},
		Group: r.options.Group, Seed: r.options.Seed ^ uint64(r.number)<<32, Known: []error{Stop, ErrTimeUp}, LocalNorms: r.options.LocalNorms,
		Shard: r.sharded, Recompute: r.recompute, Gather: func() bool { return r.wantsState }, Gathered: func() error { return r.gathered(p) },
	})
	if err != nil {
		return nil, err
	}
	ready = true
	r.trainer = p.trainer
	return p, nil
}

// rowsAtATime bounds how much of a batch a step computes at a time, where gradients are accumulated.
func (r *run[B]) rowsAtATime() func(width int) int {
	o := r.options.Batch
	if o.Accumulate <= 1 {
		return nil
	}
	return func(width int) int {
		if o.Tokens == 0 {
			return o.Size
		}
		return min(o.Size, max(1, o.Tokens/width))
	}
}

// prefixCache is c as an interface, nil where c is.
func prefixCache[B data.Batch[B]](c *cache[B]) train.PrefixCache[B] {
	if c == nil {
		return nil
	}
	return c
}

// expected counts the batches of a phase by their shapes.
func (p *phase[B]) expected(epochs int) func(B) int {
	counts := map[[2]int]int{}
	for _, r := range p.requests(1) {
		counts[[2]int{len(r.Indices), r.Length}] += epochs
	}
	return func(b B) int {
		length := 0
		if b.Lengths() != nil && p.run.trainSampler.FixedShapes() {
			length = b.Width()
		}
		return counts[[2]int{b.Size(), length}]
	}
}

// requests are the batches of an epoch.
func (p *phase[B]) requests(epoch int) []data.Request {
	p.trainCache.showEpoch(epoch)
	return p.firstStage(p.run.trainSampler.Training(p.run.options.Seed, epoch), p.trainCache)
}

// firstStage lets batches leave out what only kept stages read.
func (p *phase[B]) firstStage(asked []data.Request, c *cache[B]) []data.Request {
	if c != nil {
		for i := range asked {
			asked[i].FirstStage = p.plan.NumFrozen
		}
	}
	return asked
}

// Close frees the phase's caches and optimizer state and turns the model's gradients off.
func (p *phase[B]) Close() {
	p.run.trainer = nil
	p.watcher.close()
	if p.trainer != nil {
		p.trainer.Close()
	}
	p.trainCache.Close()
	p.testCache.Close()
	p.plan.release()
}

// evaluate measures the model on the test samples.
func (r *run[B]) evaluate(ctx context.Context, p *phase[B], progress func(int) error) (metric.Score, error) {
	r.checkpoints.copied() // an average is put in the place of the weights
	began := time.Now()
	defer func() { r.result.Seconds.Evaluate += time.Since(began).Seconds() }()
	return p.trainer.Evaluate(ctx, r.test, train.Evaluate[B]{
		Batches: p.firstStage(r.testSampler.Evaluation(), p.testCache), Objective: r.objective,
		Frozen: p.plan.NumFrozen, Cache: prefixCache(p.testCache), OnProgress: progress,
		Observer: r.options.Observer, Group: r.options.Group,
	})
}

// bestName is the metric that chooses the best epoch.
func (r *run[B]) bestName(score metric.Score) string {
	switch {
	case r.options.Best != "":
		return r.options.Best
	case len(score.Values) > 0:
		return score.Values[0].Name
	}
	return "loss"
}

// isBest reports whether the newest epoch is the best so far.
func (r *run[B]) isBest(score metric.Score) bool {
	if r.testLen() == 0 || r.result.BestEpoch == 0 {
		return true
	}
	now, _ := score.Find(r.bestName(score))
	best, _ := r.result.Best.Find(now.Name)
	return now.Better(best)
}

// build makes the optimizer; rates is where it reads learning rates from, where that is defined.
func (p Optimizer) build(groups []*optim.Group, rates torch.Tensor) optim.Optimizer {
	if p.Name == "sgd" {
		return optim.NewSGD(optim.SGDOptions{Momentum: p.Momentum, Nesterov: p.Nesterov, Rates: rates}, groups...)
	}
	return optim.NewAdamW(optim.AdamWOptions{Beta1: p.Betas[0], Beta2: p.Betas[1], Eps: p.Eps, Rates: rates}, groups...)
}
