package finetune

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/data"
	"github.com/thaw-ml/thaw/torch/nn"
)

// PrecisionChosen comes where Options.Precision is "auto" and the run is on a CPU that multiplies bfloat16: after a step in each
// precision on the same samples (docs/decisions/027).
type PrecisionChosen struct {
	Precision torch.DType
	Faster    float64 // how many times as fast the step was in bfloat16 as in float32
	Away      float64 // how far its gradient was from that of float32: the norm of the difference, relative to the norm
}

func (e PrecisionChosen) String() string {
	if e.Precision == torch.BFloat16 {
		return fmt.Sprintf("precision: bfloat16, in which a step is %.1f times as fast here as in float32, and its gradient %.2g of its length away",
			e.Faster, e.Away)
	}
	return fmt.Sprintf("precision: float32: in bfloat16 a step was only %.2g times as fast", e.Faster)
}

// When a run on the CPU computes in bfloat16 by itself.
const (
	bfloat16Faster = 1.15 // a step must be so many times as fast
	// Its loss and its gradient may be so far from those of float32, relative to them: several times what rounding was seen to.
	bfloat16Loss     = 0.05
	bfloat16Gradient = 0.3
	precisionSamples = 8    // that are tried
	precisionLeast   = 3000 // samples of all epochs together, from which on trying pays
)

// multipliesBFloat16 reports whether a CPU has instructions for it. Tests have it say yes.
var multipliesBFloat16 = torch.CPU.MultipliesBFloat16

// settlePrecision decides what "auto" is, the same on all processes: that of the checkpoint in a run that goes on, bfloat16 where
// a step is faster in it and comes to the same, float32 elsewhere.
func (r *run[B]) settlePrecision(ctx context.Context) error {
	if o := r.options; o.Precision != "" && o.Precision != "auto" || r.backend.Asynchronous() {
		return nil
	}
	unable, err := r.options.Group.Any("asking for CPUs that multiply bfloat16", !r.mayBeBFloat16())
	if err != nil || unable {
		return err
	}
	before, err := r.precisionBefore()
	if err == nil && before != "" {
		_, r.forward.Precision, err = train.ChooseDevice("cpu", before)
	}
	if err != nil || before != "" {
		return err
	}
	return r.within(ctx, r.tryPrecisions)
}

// mayBeBFloat16 reports whether trying bfloat16 pays.
func (r *run[B]) mayBeBFloat16() bool {
	samples := 0
	for _, p := range r.options.Phases {
		samples += p.Epochs * r.train.Len()
	}
	return multipliesBFloat16() && samples >= precisionLeast
}

// precisionBefore is the precision of the run that goes on; "" where none does.
func (r *run[B]) precisionBefore() (string, error) {
	var before struct {
		Precision string `json:"precision"`
	}
	read := func() error {
		if f := r.options.Folder; f != nil && (r.options.Resume || r.verify) {
			path, err := f.NewestCheckpoint()
			if err != nil || path == "" {
				return err
			}
			file, err := torch.OpenCheckpoint(path)
			if err != nil {
				return &ResumeError{path, err}
			}
			defer file.Close()
			// What is wrong with it is told where it is read whole.
			_ = json.Unmarshal([]byte(file.Metadata()[identityKey]), &before)
		}
		return nil
	}
	err := read()
	g := r.options.Group
	if g == nil {
		return before.Precision, err
	}
	if err := g.Agree("reading the precision of a checkpoint", err); err != nil {
		return "", err
	}
	told, err := g.Send("telling the precision", 0, []byte(before.Precision))
	return string(told), err
}

// tryPrecisions makes a step without an update in both precisions.
func (r *run[B]) tryPrecisions() error {
	tried, lossAway, err := r.compareBFloat16()
	if err := r.agreeOn("trying bfloat16", err); err != nil {
		return err
	}
	// Written so that NaN is astray.
	astray := !(lossAway <= bfloat16Loss && tried.Away <= bfloat16Gradient)
	someAstray, err := r.options.Group.Any("comparing bfloat16 with float32", astray)
	if err != nil {
		return err
	}
	slow, err := r.options.Group.Any("comparing the speed of bfloat16 with that of float32", tried.Faster < bfloat16Faster)
	if err != nil {
		return err
	}
	if someAstray {
		where := ""
		if !astray {
			where = ", on another process"
		}
		return r.warn(train.NotBFloat16, "in bfloat16 a step's loss was %.2g and its gradient %.2g away from what they are in float32, relative to them%s, where "+
			"%g and %g are allowed: the run computes in float32; precision: bfloat16 takes it all the same", lossAway, tried.Away, where, bfloat16Loss, bfloat16Gradient)
	}
	if tried.Precision = torch.Float32; !slow {
		tried.Precision = torch.BFloat16
		r.forward.Precision = torch.BFloat16
	}
	return r.emit(tried)
}

// compareBFloat16 compares loss and gradients of a few samples in evaluation's mode, which draws nothing at random and counts nothing in
// batch norms, for the phase that trains most.
func (r *run[B]) compareBFloat16() (tried PrecisionChosen, lossAway float64, err error) {
	var plan *Plan
	for _, phase := range r.options.Phases {
		p, err := newPlan(phase, r.forward.Stages)
		if err != nil {
			return tried, 0, err
		}
		if plan == nil || p.numTrained() > plan.numTrained() {
			plan = p
		}
	}
	asked := r.trainSampler.Evaluation()
	b, err := r.train.Batch(data.Request{Indices: asked[len(asked)/2].Indices[:min(precisionSamples, len(asked[len(asked)/2].Indices))]})
	if err != nil {
		return tried, 0, fmt.Errorf("trying bfloat16: %w", err)
	}
	defer closeBatch(b)
	if b.Size() == 0 { // none of them can be read
		return tried, 0, nil
	}
	plan.apply()
	defer plan.release()
	var params []torch.Tensor
	for _, p := range plan.each {
		if p.trained {
			params = append(params, p.Tensor)
		}
	}
	err = torch.ScopedErr(func() error {
		wanted, gradients, slow := r.stepIn(torch.Float32, b, plan, params)
		got, others, fast := r.stepIn(torch.BFloat16, b, plan, params)
		tried.Faster = slow.Seconds() / fast.Seconds()
		lossAway = math.Abs(got-wanted) / max(math.Abs(wanted), 1e-3)
		tried.Away = apartBy(gradients, others)
		return nil
	})
	return tried, lossAway, err
}

// stepIn gives the loss of a batch in a precision, the gradients of parameters, and the time that both took; at first once without
// looking at the clock, as kernels are made then.
func (r *run[B]) stepIn(precision torch.DType, b B, plan *Plan, params []torch.Tensor) (loss float64, gradients []torch.Tensor, took time.Duration) {
	autocast := func(f func()) { f() }
	if precision != torch.Float32 {
		autocast = func(f func()) { torch.Autocast(precision, f) }
	}
	step := func() {
		began := time.Now()
		var x nn.Values
		var l torch.Tensor
		torch.NoGrad(func() { autocast(func() { x = nn.RunStages(r.forward.Stages[:plan.NumFrozen], b, nil) }) })
		if plan.NumFrozen == 0 {
			x = nil
		}
		autocast(func() { l = r.objective.Loss(nn.RunStages(r.forward.Stages[plan.NumFrozen:], b, x), b.Targets()) })
		gradients = torch.Grad([]torch.Tensor{l}, params, torch.BackwardOptions{AllowUnused: true})
		loss = l.Item()
		took = time.Since(began)
	}
	torch.Scoped(step)
	step()
	return loss, gradients, took
}

// apartBy is the norm of the difference of two lists of gradients, relative to the norm of the first.
func apartBy(a, b []torch.Tensor) float64 {
	square, difference := 0.0, 0.0
	torch.NoGrad(func() {
		for i, x := range a {
			if !x.Defined() || !b[i].Defined() {
				continue
			}
			torch.Scoped(func() {
				x, y := x.To(torch.Float64), b[i].To(torch.Float64)
				square += x.Mul(x).Sum().Item()
				d := x.Sub(y)
				difference += d.Mul(d).Sum().Item()
			})
		}
	})
	if difference == 0 {
		return 0
	}
	return math.Sqrt(difference / square)
}
