package finetune

import (
	"errors"
	"fmt"
	"slices"

	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/internal/quantity"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/data"
)

// planCache decides whether the frozen stages' output is kept, and where, and says how large that will be.
func (r *run[B]) planCache(plan *Plan) error {
	kept, err := r.chooseCache(plan)
	if err != nil || plan.CacheBytes == 0 {
		return err
	}
	switch wanted := r.options.Cache.Place == CacheDisk && r.options.Group == nil; {
	case !kept:
		onDisk := ""
		if plan.noRoom != nil {
			onDisk = fmt.Sprintf(", and on disk %v", plan.noRoom)
		}
		return r.warn(train.NotCached,
			"the frozen stages' output is %s and %s of memory are free%s: it is not kept, the stages run at every step",
			quantity.Bytes(plan.CacheBytes), quantity.Bytes(availableMemory()), onDisk)
	case wanted && plan.noRoom != nil:
		return r.warn(train.NotCached, "the frozen stages' output is kept in memory, not on disk: %v", plan.noRoom)
	}
	return nil
}

// chooseCache fills in a plan's cache. kept says that there is one.
func (r *run[B]) chooseCache(plan *Plan) (kept bool, err error) {
	if plan.NumFrozen == 0 || r.options.NoCache {
		return false, nil
	}
	if plan.CacheViews, err = r.views(); err != nil || plan.CacheViews == 0 {
		return false, err
	}
	if plan.values, err = r.valuesOf(plan); err != nil {
		return false, err
	}
	row := int64(0)
	for _, v := range plan.values {
		row += v.bytes()
	}
	plan.CacheBytes, plan.CacheDevice = r.keptRows(plan)*row, torch.CPU
	// What is left must suffice for the trained stages' activations: half of the memory is a careful share.
	for _, place := range []struct {
		device torch.Device
		free   int64
	}{{r.backend.Device(), r.backend.FreeMemory()}, {torch.CPU, availableMemory()}} {
		if place.free <= 0 || plan.CacheBytes <= (place.free+r.options.Shared.held(place.device))/2 {
			plan.inMemory, plan.CacheDevice = true, place.device
			break
		}
	}
	r.chooseDisk(plan)
	plan.Cached = plan.inMemory || plan.CacheOnDisk
	return plan.Cached, nil
}

// availableMemory is train.AvailableMemory; tests set another.
var availableMemory = train.AvailableMemory

// views is how many rows are kept of a training sample: 0 where each epoch has another.
func (r *run[B]) views() (int, error) {
	k := r.options.Cache.Views
	if !r.train.Augmented() {
		return 1, nil
	}
	if k == 0 {
		return 0, nil
	}
	if v, ok := any(r.train).(data.Viewed); !ok || !v.Views() {
		return 0, errors.New("finetune: Options.Cache.Views: what is random about the training samples is more than a " +
			"sample's own, as where samples are mixed: views of them cannot be kept")
	}
	return k, nil
}

// keptRows is the number of rows that a plan's caches have.
func (r *run[B]) keptRows(plan *Plan) (rows int64) {
	for i, s := range []data.Sampler{r.trainSampler, r.testSampler} {
		views := int64(1)
		if i == 0 {
			views = int64(max(1, plan.CacheViews))
		}
		for _, n := range s.Lengths() {
			rows += views * int64(plan.keptRows(n))
		}
	}
	return max(1, rows)
}

// valuesOf finds out what is kept by running the frozen stages on one sample.
func (r *run[B]) valuesOf(plan *Plan) (values []keptValue, err error) {
	var b B
	for _, request := range slices.Backward(r.trainSampler.Evaluation()) { // short samples first
		for _, i := range request.Indices {
			if b, err = r.train.Batch(data.Request{Indices: []int{i}}); err != nil {
				return nil, err
			}
			if b.Size() > 0 {
				break
			}
			closeBatch(b)
		}
		if b.Size() > 0 {
			break
		}
	}
	defer closeBatch(b)
	c := &cache[B]{perSample: plan.perSample()}
	torch.Scoped(func() {
		for _, x := range r.forward.Run(r.forward.Upload(b), 0, plan.NumFrozen) {
			v := keptValue{dtype: x.DType(), kept: x.DType(), row: c.flat(b, x).Shape()[1:]}
			if as := r.options.Cache.dtype(); as != 0 && v.dtype.IsFloat() {
				v.kept = as
			}
			values = append(values, v)
		}
	})
	return values, nil
}

// perSample reports whether what the frozen stages give is one row a sample.
func (p *Plan) perSample() bool {
	return slices.ContainsFunc(p.Stages[:p.NumFrozen], func(s StagePlan) bool { return s.PerSample })
}

// keptRows is how many rows of what the frozen stages give are kept of a sample.
func (p *Plan) keptRows(length int) int {
	if p.perSample() {
		return 1
	}
	return length
}
