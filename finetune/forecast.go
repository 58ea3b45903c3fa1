package finetune

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/internal/contention"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/data"
)

// Forecast is what a run will cost, predicted from a few batches of each kind.
type Forecast struct {
	Phases    []PhaseForecast `json:"phases"`
	Prefix    float64         `json:"prefix"` // seconds, as in Seconds
	Train     float64         `json:"train"`
	Evaluate  float64         `json:"evaluate"`
	PeakBytes int64           `json:"peak_memory_bytes"` // resident, of the whole process
	// PeakDeviceBytes is what the run takes of the GPU at most; 0 for runs on the CPU.
	PeakDeviceBytes int64   `json:"peak_device_memory_bytes,omitempty"`
	Took            float64 `json:"took"` // seconds, of the measurement
}

// Total is the seconds of all three.
func (f *Forecast) Total() float64 { return f.Prefix + f.Train + f.Evaluate }

// PhaseForecast is what a phase will cost.
type PhaseForecast struct {
	Plan     *Plan   `json:"-"`
	Prefix   float64 `json:"prefix"` // seconds: running the frozen stages once
	Train    float64 `json:"train"`
	Evaluate float64 `json:"evaluate"`
	Steps    int     `json:"steps"`
	Measured int     `json:"measured_steps"`
	// Parts are what the parts of the work take, the longest first: their sum is that of Prefix, Train and Evaluate.
	Parts []Part  `json:"parts"`
	Taken float64 `json:"cpus_taken"` // CPUs that other programs took while steps were measured
}

// What is measured of a phase at most: so many batches of each kind, of sizes from the smallest to the largest, or,
// where they take long, as many as fit the time, and three or more.
const (
	probeBatches = 12
	probeTime    = 8 * time.Second
	probeLeast   = 3
)

// probe says which batches stand for all.
type probe struct {
	train, test []data.Request
	prefix      float64 // seconds that all will take
	touched     int64   // bytes of the cache that were written
	updates     stopwatch
}

// EstimateCost measures a few batches of each phase of a run, without evaluating all or writing anything, and tells
// what Fit with the same arguments would cost. On a machine that others use the costs are theirs too. The model is left
// with weights of no use: close it.
func EstimateCost[B data.Batch[B]](
	ctx context.Context, model Model[B], trainSet, testSet data.Dataset[B], o Options,
) (*Forecast, error) {
	began := time.Now()
	f := &Forecast{}
	o.OnEvent = nil
	err := apart(ctx, model, trainSet, testSet, o, func(ctx context.Context, r *run[B]) error {
		before, unwritten := train.PeakResident(), int64(0)
		for number, phase := range r.options.Phases {
			plan, err := r.plan(phase)
			if err != nil {
				return err
			}
			p, left, err := r.predict(ctx, plan, number)
			if err != nil {
				return fmt.Errorf("phase %d: %w", number+1, err)
			}
			f.Phases = append(f.Phases, p)
			f.Prefix, f.Train, f.Evaluate = f.Prefix+p.Prefix, f.Train+p.Train, f.Evaluate+p.Evaluate
			unwritten = max(unwritten, left)
		}
		f.PeakBytes, f.PeakDeviceBytes = train.PeakResident()+unwritten, r.backend.Peak()
		if r.backend.Device().Type == torch.CPUType { // as checkPhase reckons with holes between blocks, which come with the shapes
			f.PeakBytes += (f.PeakBytes-unwritten-before)/2 + spare
		}
		return nil
	})
	f.Took = time.Since(began).Seconds()
	return f, err
}

// predict measures a phase. unwritten is the memory that its cache will take besides what it takes now.
func (r *run[B]) predict(ctx context.Context, plan *Plan, number int) (f PhaseForecast, unwritten int64, err error) {
	asked := r.trainSampler.Training(r.options.Seed, 1)
	r.probe = &probe{train: pick(asked, r.train)}
	defer func() { r.probe = nil }()
	if r.testLen() > 0 {
		r.probe.test = pick(r.testSampler.Evaluation(), r.test)
	}
	p, err := r.begin(ctx, plan)
	if err != nil {
		return f, 0, err
	}
	defer p.Close()
	f = PhaseForecast{Plan: plan, Prefix: r.probe.prefix, Steps: plan.Steps}
	if plan.Cached && !plan.CacheOnDisk && plan.CacheDevice.Type == torch.CPUType {
		unwritten = plan.CacheBytes - r.probe.touched
	}
	before := contention.Read()
	steps, err := r.timeSteps(ctx, p)
	if err != nil {
		return f, 0, err
	}
	parts, err := r.timeParts(ctx, p, asked, before)
	if err != nil {
		return f, 0, err
	}
	f.Measured = len(steps)
	f.Train = float64(plan.Phase.Epochs) * steps.of(asked, r.train)
	if r.testLen() > 0 {
		evaluations := plan.Phase.Epochs
		if number == 0 {
			evaluations++ // before anything is trained
		}
		times, err := r.timeEvaluation(ctx, p)
		if err != nil {
			return f, 0, err
		}
		f.Evaluate = float64(evaluations) * times.of(r.testSampler.Evaluation(), r.test)
	}
	f.divide(r.backend.Asynchronous(), parts)
	return f, unwritten, nil
}

// timing is a batch's size, padding counted, and what it took.
type timing struct {
	size    float64
	seconds float64
}

type timings []timing

// of predicts what batches take: seconds = a + b size by least squares, neither below 0.
func (t timings) of(asked []data.Request, set interface{ Length(i int) int }) float64 {
	if len(t) == 0 {
		return 0
	}
	meanSize, meanTime := 0.0, 0.0
	for _, x := range t {
		meanSize, meanTime = meanSize+x.size/float64(len(t)), meanTime+x.seconds/float64(len(t))
	}
	both, square := 0.0, 0.0
	for _, x := range t {
		both, square = both+(x.size-meanSize)*(x.seconds-meanTime), square+(x.size-meanSize)*(x.size-meanSize)
	}
	slope := 0.0
	if square > 1e-9*meanSize*meanSize {
		slope = max(0, both/square)
	}
	base := meanTime - slope*meanSize
	if base < 0 {
		base, slope = 0, meanTime/meanSize
	}
	sum := 0.0
	for _, r := range asked {
		sum += base + slope*sizeOf(r, set)
	}
	return sum
}

// sizeOf is the rows of a batch times its longest one.
func sizeOf(r data.Request, set interface{ Length(i int) int }) float64 {
	longest := max(1, r.Length)
	for _, i := range r.Indices {
		longest = max(longest, set.Length(i))
	}
	return float64(longest * len(r.Indices))
}

// pick chooses batches of all sizes, the largest first and then from either end, so that a few of them stand for all.
func pick(asked []data.Request, set interface{ Length(i int) int }) []data.Request {
	sorted := slices.Clone(asked)
	slices.SortStableFunc(sorted, func(a, b data.Request) int { return cmp.Compare(sizeOf(b, set), sizeOf(a, set)) })
	n := min(probeBatches, len(sorted))
	var some []data.Request
	for i := range n {
		some = append(some, sorted[(2*i+1)*len(sorted)/(2*n)])
	}
	some[0] = sorted[0] // the memory that it takes is the run's
	var mixed []data.Request
	for i, k := 0, n-1; i <= k; i, k = i+1, k-1 {
		if mixed = append(mixed, some[i]); i < k {
			mixed = append(mixed, some[k])
		}
	}
	return mixed
}

// enough tells whether the measurements suffice.
func enough(done int, began time.Time) bool {
	return done >= probeLeast && time.Since(began) > probeTime
}

// probeCaches fills the caches of a few batches, and notes what all would take.
func (r *run[B]) probeCaches(ctx context.Context, plan *Plan) (trained, test *cache[B], err error) {
	fill := func(of split[B], some []data.Request) (*cache[B], error) {
		set := of.set
		if c, err := r.openKept(plan, of, nil); c != nil || err != nil {
			return c, err
		}
		c, total := r.newCache(plan, of)
		if !plan.inMemory {
			if err := r.newFile(plan, of, c, "", true); err != nil {
				return nil, err
			}
		}
		done := false
		defer func() {
			if !done {
				c.Close()
			}
		}()
		var times timings
		for i := -1; i < len(some); i++ { // the first twice: at first everything is slow
			request := some[max(i, 0)]
			began := time.Now()
			b, err := set.Batch(data.Request{Indices: request.Indices})
			if err != nil {
				return nil, err
			}
			torch.Scoped(func() { err = c.store(b, r.forward.Run(r.forward.Upload(b), 0, plan.NumFrozen), r.forward, total) })
			closeBatch(b)
			if err := cmp.Or(err, r.backend.Synchronize(), ctx.Err()); err != nil {
				return nil, err
			}
			if i >= 0 {
				times = append(times, timing{sizeOf(data.Request{Indices: request.Indices}, set), time.Since(began).Seconds()})
				for _, k := range request.Indices {
					r.probe.touched += int64(plan.keptRows(set.Length(k))) * plan.CacheBytes / r.keptRows(plan)
				}
			}
		}
		r.probe.prefix += float64(c.views) * times.of(of.batches, set)
		if err := c.mapFile(); err != nil {
			return nil, err
		}
		done = true
		return c, nil
	}
	if trained, err = fill(r.training(), r.probe.train); err != nil || r.testLen() == 0 {
		return trained, nil, err
	}
	if test, err = fill(r.testing(), r.probe.test); err != nil {
		trained.Close()
		return nil, nil, err
	}
	return trained, test, nil
}

// timeSteps makes steps of the batches that stand for all. On a GPU, where steps run behind the CPU, all are timed
// together.
func (r *run[B]) timeSteps(ctx context.Context, p *phase[B]) (times timings, err error) {
	asked := p.firstStage(slices.Clone(r.probe.train), p.trainCache)
	epoch := func(some []data.Request) error {
		_, err := p.trainer.Epoch(ctx, r.train, some, 1)
		return errors.Join(err, r.backend.Synchronize())
	}
	if err := epoch(asked[:1]); err != nil { // warms up
		return nil, err
	}
	began := time.Now()
	last, done := began, 0
	r.options.OnEvent = func(e Event) error {
		if _, ok := e.(train.StepDone); !ok {
			return nil
		}
		now := time.Now()
		times = append(times, timing{sizeOf(asked[done], r.train), now.Sub(last).Seconds()})
		if last, done = now, done+1; enough(done, began) {
			return errEnough
		}
		return nil
	}
	defer func() { r.options.OnEvent = nil }()
	if err := epoch(asked); err != nil && !errors.Is(err, errEnough) {
		return nil, err
	}
	if r.backend.Asynchronous() {
		total := timing{seconds: time.Since(began).Seconds() / float64(len(times))}
		for _, t := range times {
			total.size += t.size / float64(len(times))
		}
		return timings{total}, nil
	}
	if len(times) > probeLeast { // before the first its batch was read, which later ones do not wait for
		times = times[1:]
	}
	return times, nil
}

// timeEvaluation measures on the batches that stand for all.
func (r *run[B]) timeEvaluation(ctx context.Context, p *phase[B]) (times timings, err error) {
	asked := p.firstStage(slices.Clone(r.probe.test), p.testCache)
	began := time.Now()
	last, done := began, 0
	evaluate := func(some []data.Request, progress func(int) error) error {
		_, err := p.trainer.Evaluate(ctx, r.test, train.Evaluate[B]{
			Batches: some, Objective: r.objective, Frozen: p.plan.NumFrozen, Cache: prefixCache(p.testCache), OnProgress: progress,
		})
		return err
	}
	if err := evaluate(asked[:1], nil); err != nil {
		return nil, err
	}
	last = time.Now()
	err = evaluate(asked, func(int) error {
		if err := r.backend.Synchronize(); err != nil {
			return err
		}
		now := time.Now()
		times = append(times, timing{sizeOf(asked[done], r.test), now.Sub(last).Seconds()})
		if last, done = now, done+1; enough(done, began) {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return times, err
}
