package finetune

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"

	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/torch/data"
)

// RateRange says how FindRate raises the learning rate: from From to To, by the same factor at each of so many steps.
// The zero value of a field stands for its default, fastai's: 1e-7, 10 and 100.
type RateRange struct {
	From, To float64
	Steps    int
}

// RateCurve is how the loss went while the learning rate rose (Smith 2015).
type RateCurve struct {
	Phase  int       `json:"phase"` // counted from 1
	Rates  []float64 `json:"rates"` // of the stage just below the head, as Phase.LR, or of the head where it is trained alone
	Losses []float64 `json:"losses"`
	// Smooth is the exponential mean of the losses with 0.98, corrected for its start as Adam's means are.
	Smooth   []float64 `json:"smooth"`
	Diverged bool      `json:"diverged"` // it ended early: the loss was no number, or Smooth four times its lowest value
	// Valley is the rate at the middle of the longest fall of Smooth, as fastai suggests it: the beginning of the
	// curve, a tenth of the steps, and the last five are left out. 0 where the loss does not fall.
	Valley float64 `json:"valley"`
}

const (
	smoothing   = 0.98
	divergedAt  = 4
	ignoredLast = 5
)

func (r *RateRange) resolve() error {
	orDefault(&r.From, 1e-7)
	orDefault(&r.To, 10)
	orDefault(&r.Steps, 100)
	switch {
	case !positive(r.From) || !positive(r.To) || r.From >= r.To:
		return fmt.Errorf("finetune: the learning rate must rise from above 0, found %v to %v", r.From, r.To)
	case r.Steps < 20:
		return fmt.Errorf("finetune: a curve needs 20 steps or more, found %d", r.Steps)
	}
	return nil
}

// at is the rate of a step, counted from 0.
func (r RateRange) at(step int) float64 {
	return r.From * math.Pow(r.To/r.From, float64(step)/float64(r.Steps-1))
}

// FindRate raises the learning rate of a phase of o, counted from 0, step by step and tells what the loss did. The
// phases before it are trained first as o says. All rates of the phase rise together: head_lr and layer decay keep
// their proportions. Samples come as in training, anew when all were seen. Nothing is evaluated or written, and the
// model is left with weights of no use: close it.
func FindRate[B data.Batch[B]](
	ctx context.Context, model Model[B], trainSet data.Dataset[B], o Options, phase int, rates RateRange,
) (*RateCurve, error) {
	if err := rates.resolve(); err != nil {
		return nil, err
	}
	if phase < 0 || phase >= max(1, len(o.Phases)) {
		return nil, fmt.Errorf("finetune: there is no phase %d", phase+1)
	}
	curve := &RateCurve{Phase: phase + 1}
	err := apart(ctx, model, trainSet, nil, o, func(ctx context.Context, r *run[B]) error {
		for ; r.number < phase; r.number++ {
			if err := r.phase(ctx, r.number); err != nil {
				return err
			}
		}
		return r.raise(ctx, r.options.Phases[phase], rates, curve)
	})
	if err != nil {
		return nil, err
	}
	curve.Valley = valley(curve.Rates, curve.Smooth)
	return curve, nil
}

// apart prepares a run that leaves nothing, as Fit would, and has f use it.
func apart[B data.Batch[B]](
	ctx context.Context, model Model[B], trainSet, testSet data.Dataset[B], o Options, f func(context.Context, *run[B]) error,
) error {
	runtime.LockOSThread() // as Fit
	defer runtime.UnlockOSThread()
	o.Folder, o.Checkpoint, o.Resume, o.StopAfter, o.Observer = nil, Checkpointing{}, false, 0, nil
	o, err := o.resolved()
	if err != nil {
		return err
	}
	if isNil(trainSet) || trainSet.Len() == 0 {
		return errors.New("there is nothing to train on: the training data has no rows")
	}
	if isNil(testSet) {
		testSet = nil
	}
	if err := CheckPhases(model, o.Phases); err != nil {
		return err
	}
	backend, precision, err := newBackend(o)
	if err != nil {
		return err
	}
	r := newRun(backend, precision, model, trainSet, testSet, o)
	defer beginTraining(model, r.settle)()
	if err := r.settlePrecision(ctx); err != nil {
		return err
	}
	return r.within(ctx, func() error { return f(ctx, r) })
}

// errEnough ends the steps.
var errEnough = errors.New("enough")

// raise makes the steps of a curve.
func (r *run[B]) raise(ctx context.Context, phase Phase, rates RateRange, curve *RateCurve) error {
	phase.Epochs = 1 + rates.Steps // more than are needed
	phase.Schedule, phase.WarmUp = Constant, 0
	plan, err := r.plan(phase)
	if err != nil {
		return err
	}
	r.ramp = func(step int) float64 { return rates.at(step) / plan.top() }
	defer func() { r.ramp = nil }()
	p, err := r.begin(ctx, plan)
	if err != nil {
		return err
	}
	defer p.Close()
	onEvent := r.options.OnEvent
	defer func() { r.options.OnEvent = onEvent }()
	var before train.Position
	mean, best := 0.0, math.Inf(1)
	r.options.OnEvent = func(e Event) error {
		if _, ok := e.(train.StepDone); ok {
			at, err := p.trainer.Position()
			if err != nil {
				return err
			}
			loss := (at.LossSum - before.LossSum) / float64(at.Samples-before.Samples)
			before = at
			mean = smoothing*mean + (1-smoothing)*loss
			smooth := mean / (1 - math.Pow(smoothing, float64(len(curve.Losses)+1)))
			curve.Rates = append(curve.Rates, rates.at(len(curve.Rates)))
			curve.Losses, curve.Smooth = append(curve.Losses, loss), append(curve.Smooth, smooth)
			best = math.Min(best, smooth)
			curve.Diverged = smooth > divergedAt*best
		}
		if onEvent != nil {
			if err := onEvent(e); err != nil {
				return err
			}
		}
		if curve.Diverged || len(curve.Rates) >= rates.Steps {
			return errEnough
		}
		return nil
	}
	for epoch := 1; err == nil; epoch++ {
		before = train.Position{}
		_, err = p.trainer.Epoch(ctx, r.train, p.requests(epoch), epoch)
	}
	if errors.Is(err, train.ErrNotFinite) && len(curve.Rates) > 0 {
		curve.Diverged = true
		return nil
	}
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// top is the learning rate that a phase is known by: that of the last stage before the head, or the head's where it is
// trained alone.
func (p *Plan) top() float64 {
	if p.Phase.Train.HeadOnly() {
		return p.Phase.HeadLR
	}
	return p.Phase.LR
}

// valley is the rate in the middle of the longest falling subsequence of the losses: half-way through the second of its
// three thirds. It is 0 where nothing falls for long.
func valley(rates, losses []float64) float64 {
	from, to := len(rates)/10, len(rates)-ignoredLast
	if to-from < 3 {
		return 0
	}
	rates, losses = rates[from:to], losses[from:to]
	falls := make([]int, len(losses)) // the length of the longest fall that ends here
	end := 0
	for i := range losses {
		falls[i] = 1
		for k := range i {
			if losses[i] < losses[k] {
				falls[i] = max(falls[i], falls[k]+1)
			}
		}
		if falls[i] > falls[end] {
			end = i
		}
	}
	length := falls[end]
	if length < max(3, len(losses)/10) {
		return 0
	}
	start := end - length // -1 where the whole curve falls, as fastai counts
	third := float64(end-start) / 3
	return rates[start+int(third)+int(third/2)]
}
