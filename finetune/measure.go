package finetune

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"time"

	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/data"
)

// Speed is how fast the steps of a phase run.
type Speed struct {
	SamplesPerSecond float64   `json:"samples_per_second"` // the median of the rounds
	Rounds           []float64 `json:"rounds"`             // samples per second of each
	Batches          int       `json:"batches"`            // of a round
	Loss             float64   `json:"loss"`               // the mean of the last round
	PeakBytes        int64     `json:"peak_memory_bytes"`  // of the GPU, or of the process where the run is on the CPU
	Captured         []string  `json:"captured"`           // shapes whose steps were replayed as CUDA graphs
	Warnings         []string  `json:"warnings,omitempty"` // such as why a shape's steps could not be captured
	Threads          []string  `json:"threads,omitempty"`  // how threads came to compute beside other programs, see ThreadsChosen
}

// Effort says how long to measure.
type Effort struct {
	Round  time.Duration // length of a round, about
	Rounds int
}

// Measure runs steps of the only phase of o, as Fit does, without evaluating or writing anything, and tells how fast
// they are. The model's weights are changed.
func Measure[B data.Batch[B]](ctx context.Context, model Model[B], trainSet data.Dataset[B], o Options, effort Effort) (*Speed, error) {
	runtime.LockOSThread() // as Fit
	defer runtime.UnlockOSThread()
	o, err := o.resolved()
	if err != nil {
		return nil, err
	}
	if len(o.Phases) != 1 || isNil(trainSet) || trainSet.Len() == 0 {
		return nil, errors.New("one phase and some samples are measured")
	}
	backend, precision, err := newBackend(o)
	if err != nil {
		return nil, err
	}
	return measureOn(ctx, backend, precision, model, trainSet, o, effort)
}

func measureOn[B data.Batch[B]](
	ctx context.Context, backend train.Backend, precision torch.DType, model Model[B], trainSet data.Dataset[B], o Options,
	effort Effort,
) (*Speed, error) {
	speed := &Speed{Captured: []string{}}
	o.OnEvent = func(e Event) error {
		switch e := e.(type) {
		case train.Warning:
			speed.Warnings = append(speed.Warnings, e.Text)
		case ThreadsChosen:
			speed.Threads = append(speed.Threads, e.String())
		}
		return nil
	}
	r := newRun(backend, precision, model, trainSet, nil, o)
	if err := r.within(ctx, func() error { return r.measure(ctx, effort, speed) }); err != nil {
		return nil, err
	}
	return speed, nil
}

// measure repeats the batches of the first epoch.
func (r *run[B]) measure(ctx context.Context, effort Effort, speed *Speed) error {
	phase := r.options.Phases[0]
	phase.Epochs = 1 << 20 // every batch comes often
	phase.Schedule, phase.WarmUp = Constant, 0
	plan, err := r.plan(phase)
	if err != nil {
		return err
	}
	p, err := r.begin(ctx, plan)
	if err != nil {
		return err
	}
	defer p.Close()
	asked, at := p.requests(1), 0
	take := func(n int) (some []data.Request) {
		for range n {
			some = append(some, asked[at])
			at = (at + 1) % len(asked)
		}
		return some
	}
	// steps makes a step of each batch and gives the time that all took.
	steps := func(some []data.Request) (time.Duration, error) {
		if err := r.backend.Synchronize(); err != nil {
			return 0, err
		}
		began := time.Now()
		speed.Loss, err = p.trainer.Epoch(ctx, r.train, some, 1)
		return time.Since(began), err
	}
	if _, err := steps(shapes(asked)); err != nil {
		return fmt.Errorf("warming up: %w", err)
	}
	// As many batches as take the time of a round.
	batches := 1
	for {
		spent, err := steps(take(batches))
		if err != nil {
			return fmt.Errorf("warming up: %w", err)
		}
		enough := int(math.Ceil(float64(batches) * effort.Round.Seconds() / max(spent.Seconds(), 1e-9)))
		if enough <= 2*batches {
			batches = max(1, enough)
			break
		}
		batches = min(enough, 4*batches)
	}
	if err := r.backend.ResetPeak(); err != nil { // capturing and its check took more
		return err
	}
	for range effort.Rounds {
		some := take(batches)
		spent, err := steps(some)
		if err != nil {
			return err
		}
		samples := 0
		for _, r := range some {
			samples += len(r.Indices)
		}
		speed.Rounds = append(speed.Rounds, float64(samples)/spent.Seconds())
		speed.Batches = len(some)
	}
	speed.SamplesPerSecond = median(speed.Rounds)
	if speed.PeakBytes = r.backend.Peak(); speed.PeakBytes == 0 {
		speed.PeakBytes = train.PeakResident()
	}
	speed.Captured = append(speed.Captured, p.trainer.Captured()...)
	return nil
}

func median(x []float64) float64 {
	sorted := slices.Sorted(slices.Values(x))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// shapes gives the first of the batches of each shape.
func shapes(asked []data.Request) (first []data.Request) {
	seen := map[[2]int]bool{}
	for _, r := range asked {
		key := [2]int{len(r.Indices), r.Length}
		if !seen[key] {
			seen[key] = true
			first = append(first, r)
		}
	}
	return first
}
