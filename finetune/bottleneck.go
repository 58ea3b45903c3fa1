package finetune

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/thaw-ml/thaw/internal/contention"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/data"
)

// Part is what a part of a phase's work takes.
type Part struct {
	Name    string  `json:"name"` // one of PartNames
	Seconds float64 `json:"seconds"`
}

// The parts of a phase.
const (
	DataPart       = "data"           // reading, decoding and transforming samples, as far as steps wait for it
	PrefixPart     = "frozen stages"  // once, or at every step
	SuffixPart     = "trained stages" // forward, loss and backward
	OptimizerPart  = "optimizer"      // clipping, the update of weights and averages
	EvaluationPart = "evaluation"
)

// PartNames are all names of parts.
var PartNames = []string{DataPart, PrefixPart, SuffixPart, OptimizerPart, EvaluationPart}

// divide says what the parts of a phase take, the longest first, from its forecast and from what was measured of a step. What is behind
// a GPU's queue counts as trained stages but for the samples that it waits for.
func (f *PhaseForecast) divide(asynchronous bool, s stepParts) {
	step := max(f.Train, 1e-12)
	waiting := s.data
	if asynchronous && waiting < 0.9*step { // made while the GPU computes
		waiting = 0
	}
	waiting = min(waiting, step)
	optimizer := min(s.optimizer, step-waiting)
	frozen := min(s.frozen, step-waiting-optimizer)
	f.Parts = []Part{
		{DataPart, waiting}, {PrefixPart, f.Prefix + frozen}, {SuffixPart, step - waiting - optimizer - frozen}, {OptimizerPart, optimizer},
		{EvaluationPart, f.Evaluate},
	}
	slices.SortStableFunc(f.Parts, func(a, b Part) int { return cmp.Compare(b.Seconds, a.Seconds) })
	f.Taken = s.taken
}

// Bottleneck is the part that takes longest, and its share of all.
func (f *PhaseForecast) Bottleneck() (name string, share float64) {
	all := 0.0
	for _, p := range f.Parts {
		all += p.Seconds
	}
	if len(f.Parts) == 0 || all == 0 {
		return "", 0
	}
	return f.Parts[0].Name, f.Parts[0].Seconds / all
}

// stepParts are the seconds that parts of all training steps of a phase take.
type stepParts struct {
	data, frozen, optimizer float64
	taken                   float64 // CPUs that others took meanwhile
}

// stopwatch adds up the time between the gradients of steps and their ends.
type stopwatch struct {
	began time.Time
	all   time.Duration
	steps int
}

func (w *stopwatch) start() { w.began = time.Now() }

func (w *stopwatch) stop() {
	if !w.began.IsZero() {
		w.all, w.steps, w.began = w.all+time.Since(w.began), w.steps+1, time.Time{}
	}
}

// mean is the time of a step in seconds.
func (w *stopwatch) mean() float64 { return w.all.Seconds() / float64(max(1, w.steps)) }

// timeParts measures what the steps of a phase wait for and what they do but for the trained stages; r.probe has the time of the optimizer.
func (r *run[B]) timeParts(ctx context.Context, p *phase[B], asked []data.Request, before contention.Reading) (s stepParts, err error) {
	s.taken = contention.Read().Since(before).Taken
	epochs := float64(p.plan.Phase.Epochs)
	some := p.firstStage(slices.Clone(r.probe.train[:min(len(r.probe.train), 2*probeLeast)]), p.trainCache)
	began, size := time.Now(), 0.0
	for _, err := range data.Batches(ctx, r.train, some) {
		if err != nil {
			return s, err
		}
	}
	took := time.Since(began).Seconds()
	for _, request := range some {
		size += sizeOf(request, r.train)
	}
	for _, request := range asked {
		s.data += epochs * took / size * sizeOf(request, r.train)
	}
	s.optimizer = epochs * r.probe.updates.mean() * float64(len(asked))
	if p.trainCache != nil || p.plan.NumFrozen == 0 {
		return s, nil
	}
	var ran timings
	for _, request := range some[:min(len(some), probeLeast)] {
		b, err := r.train.Batch(request)
		if err != nil {
			return s, err
		}
		began := time.Now()
		torch.Scoped(func() { r.forward.Run(r.forward.Upload(b), 0, p.plan.NumFrozen) })
		closeBatch(b)
		if err := r.backend.Synchronize(); err != nil {
			return s, err
		}
		ran = append(ran, timing{sizeOf(request, r.train), time.Since(began).Seconds()})
	}
	s.frozen = epochs * ran.of(asked, r.train)
	return s, nil
}
