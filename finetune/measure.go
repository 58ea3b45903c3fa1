package finetune

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"time"

	"github.com/thaw-ml/thaw/torch"
)

// Speed is how fast the steps of a phase run.
type Speed struct {
	SamplesPerSecond float64   `json:"samples_per_second"` // the median of the rounds
	Rounds           []float64 `json:"rounds"`             // samples per second of each
	Batches          int       `json:"batches"`            // of a round
	Loss             float64   `json:"loss"`               // the mean of the last round
	PeakBytes        int64     `json:"peak_memory_bytes"`  // of the GPU, or of the process where the run is on the CPU
	Replayed         []string  `json:"replayed"`           // shapes whose steps were replayed as graphs
	Warnings         []string  `json:"warnings,omitempty"` // such as why a shape's steps could not be recorded
}

// Effort says how long to measure.
type Effort struct {
	Round  time.Duration // length of a round, about
	Rounds int
}

// Measure runs steps of the spec's only phase, as Run does, without evaluating or writing anything, and tells how fast
// they are. The model's weights are changed.
func Measure[B Samples[B]](ctx context.Context, spec Spec, model Model[B], train Dataset[B], effort Effort) (_ *Speed, err error) {
	runtime.LockOSThread() // as Run
	defer runtime.UnlockOSThread()
	if spec, err = spec.Resolved(); err != nil {
		return nil, err
	}
	if err := spec.ChooseDevice(); err != nil {
		return nil, err
	}
	if len(spec.Phases) != 1 || train.Len() == 0 {
		return nil, errors.New("one phase and some samples are measured")
	}
	m, err := newMachine(&spec)
	if err != nil {
		return nil, err
	}
	return measureOn(ctx, m, spec, model, train, effort)
}

func measureOn[B Samples[B]](ctx context.Context, m machine, spec Spec, model Model[B], train Dataset[B], effort Effort) (speed *Speed, err error) {
	var noted warnings
	r := newRun(spec, model, train, Dataset[B](nothing[B]{train}), m, &noted)
	failure := torch.Try(func() {
		err = m.within(ctx, func() error {
			return r.at(m.device(), func() (err error) {
				speed, err = r.measure(ctx, effort)
				return err
			})
		})
	})
	if err = errors.Join(err, failure); err != nil {
		return nil, err
	}
	speed.Warnings = noted.texts
	return speed, nil
}

// warnings is a Reporter that keeps what was unusual.
type warnings struct {
	silent
	texts []string
}

func (w *warnings) Note(subject, text string) {
	if subject == "warning" {
		w.texts = append(w.texts, text)
	}
}

// measure repeats the batches of the first epoch.
func (r *run[B]) measure(ctx context.Context, effort Effort) (*Speed, error) {
	phase := r.spec.Phases[0]
	phase.Epochs = 1 << 20 // the learning rate stays as it is, and every batch comes often
	phase.Schedule, phase.WarmUp = "constant", new(0.0)
	plan, err := r.plan(phase)
	if err != nil {
		return nil, err
	}
	t, err := r.begin(ctx, plan)
	if err != nil {
		return nil, err
	}
	defer t.Close()
	asked, at := t.requests(1), 0
	take := func(n int) (some []Request) {
		for range n {
			some = append(some, asked[at])
			at = (at + 1) % len(asked)
		}
		return some
	}
	speed := &Speed{Replayed: []string{}}
	// steps makes a step of each batch and gives the time that all took.
	steps := func(some []Request) (time.Duration, error) {
		if err := r.machine.synchronize(); err != nil {
			return 0, err
		}
		began := time.Now()
		speed.Loss, err = t.epoch(ctx, some)
		return time.Since(began), err
	}
	if _, err := steps(shapes(asked)); err != nil {
		return nil, fmt.Errorf("warming up: %w", err)
	}
	// As many batches as take the time of a round.
	batches := 1
	for {
		spent, err := steps(take(batches))
		if err != nil {
			return nil, fmt.Errorf("warming up: %w", err)
		}
		enough := int(math.Ceil(float64(batches) * effort.Round.Seconds() / max(spent.Seconds(), 1e-9)))
		if enough <= 2*batches {
			batches = max(1, enough)
			break
		}
		batches = min(enough, 4*batches)
	}
	if err := r.machine.resetPeak(); err != nil { // recording and its check took more
		return nil, err
	}
	for range effort.Rounds {
		some := take(batches)
		spent, err := steps(some)
		if err != nil {
			return nil, err
		}
		samples := 0
		for _, r := range some {
			samples += len(r.Indices)
		}
		speed.Rounds = append(speed.Rounds, float64(samples)/spent.Seconds())
		speed.Batches = len(some)
	}
	speed.SamplesPerSecond = median(speed.Rounds)
	if speed.PeakBytes = r.machine.peak(); speed.PeakBytes == 0 {
		speed.PeakBytes = peakResident()
	}
	if t.ahead != nil {
		speed.Replayed = t.ahead.replayed
	}
	return speed, nil
}

func median(x []float64) float64 {
	sorted := slices.Sorted(slices.Values(x))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// shapes gives the first of the batches of each shape.
func shapes(asked []Request) (first []Request) {
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

// nothing is a data set without samples.
type nothing[B Samples[B]] struct{ Dataset[B] }

func (nothing[B]) Len() int { return 0 }
