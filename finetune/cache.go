package finetune

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/data"
	"github.com/thaw-ml/thaw/torch/nn"
)

// cache keeps the output of the frozen stages for every sample of a data set. Rows of padding are not kept. It is the
// train.PrefixCache of steps and evaluations.
type cache[B data.Batch[B]] struct {
	// rows is [total+1, ...] for each value of the output: for padded data one row a token, else one a sample; row 0 is
	// zeros and stands for padding.
	rows      nn.Values
	starts    []int        // of each sample, in rows
	perSample bool         // a row is a sample, also of padded data
	shared    bool         // Options.Shared frees the rows
	device    torch.Device // where the rows lie
	compute   torch.Device // where the trained stages run
}

// planCache decides whether the frozen stages' output is kept, and where, and says how large that will be.
func (r *run[B]) planCache(plan *Plan) error {
	if kept, err := r.chooseCache(plan); kept || err != nil || plan.CacheBytes == 0 {
		return err
	}
	return r.warn(train.NotCached, "the frozen stages' output is %s and %s of memory are free: it is not kept, the stages run at every step",
		byteSize(plan.CacheBytes), byteSize(train.AvailableMemory()))
}

// chooseCache fills in a plan's cache. kept says that there is one.
func (r *run[B]) chooseCache(plan *Plan) (kept bool, err error) {
	if plan.NumFrozen == 0 || r.options.NoCache || r.train.Augmented() {
		return false, nil
	}
	row, err := r.rowBytes(plan)
	if err != nil {
		return false, err
	}
	for _, s := range []data.Sampler{r.trainSampler, r.testSampler} {
		for _, n := range s.Lengths() {
			plan.CacheBytes += int64(plan.keptRows(n)) * row
		}
	}
	// What is left must suffice for the trained stages' activations: half of the memory is a careful share.
	for _, place := range []struct {
		device torch.Device
		free   int64
	}{{r.backend.Device(), r.backend.FreeMemory()}, {torch.CPU, train.AvailableMemory()}} {
		if place.free <= 0 || plan.CacheBytes <= (place.free+r.options.Shared.held(place.device))/2 {
			plan.Cached, plan.CacheDevice = true, place.device
			return true, nil
		}
	}
	return false, nil
}

// rowBytes is the size of a kept row, found by running the frozen stages on one sample.
func (r *run[B]) rowBytes(plan *Plan) (bytes int64, err error) {
	var b B
	for _, request := range slices.Backward(r.trainSampler.Evaluation()) { // short samples first
		for _, i := range request.Indices {
			if b, err = r.train.Batch(data.Request{Indices: []int{i}}); err != nil {
				return 0, err
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
			row := c.flat(b, x).Select(0, 0)
			bytes += int64(row.NBytes())
		}
	})
	return bytes, nil
}

// fillCaches runs the frozen stages on all rows, where the plan keeps their output.
func (r *run[B]) fillCaches(ctx context.Context, plan *Plan) (trained, test *cache[B], err error) {
	if !plan.Cached {
		return nil, nil, nil
	}
	if r.probe != nil {
		return r.probeCaches(ctx, plan)
	}
	task := train.Task{Kind: train.Prefix}
	began := time.Now()
	defer func() { r.result.Seconds.Prefix += time.Since(began).Seconds() }()
	if err := r.emit(train.TaskStarted{Task: task, Samples: r.train.Len() + r.testLen()}); err != nil {
		return nil, nil, err
	}
	trainKey, testKey := r.sharedKey(plan, r.train, r.trainSampler), ""
	if r.testLen() > 0 {
		testKey = r.sharedKey(plan, r.test, r.testSampler)
	}
	r.roomForShared(plan, trainKey, testKey)
	samples := 0
	done := func(n int) error {
		samples += n
		return r.emit(train.Progress{Task: task, Samples: samples})
	}
	complete := false
	defer func() {
		if !complete { // an error, or a panic of the model's
			trained.Close()
			test.Close()
		}
	}()
	if trained, err = r.sharedCache(ctx, trainKey, plan, r.train, r.trainSampler, done); err != nil {
		return nil, nil, err
	}
	if r.testLen() > 0 {
		if test, err = r.sharedCache(ctx, testKey, plan, r.test, r.testSampler, done); err != nil {
			return trained, nil, err
		}
	}
	if err := r.emit(train.TaskDone{Task: task, Samples: samples, Elapsed: time.Since(began)}); err != nil {
		return trained, test, err
	}
	complete = true
	return trained, test, nil
}

// newCache makes a cache without rows for a data set, and gives the number of rows that it will have.
func (r *run[B]) newCache(plan *Plan, set data.Dataset[B]) (c *cache[B], rows int) {
	c = &cache[B]{starts: make([]int, set.Len()), perSample: plan.perSample(), device: plan.CacheDevice, compute: r.backend.Device()}
	rows = 1
	for i := range c.starts {
		c.starts[i] = rows
		rows += plan.keptRows(set.Length(i))
	}
	return c, rows
}

// fillCache runs the frozen stages once on every sample of a data set, in inference mode, and keeps their output on the
// plan's device.
func (r *run[B]) fillCache(
	ctx context.Context, plan *Plan, set data.Dataset[B], sampler data.Sampler, done func(samples int) error,
) (*cache[B], error) {
	c, total := r.newCache(plan, set)
	full := false
	defer func() {
		if !full { // an error, or a panic of the model's
			c.Close()
		}
	}()
	if g := r.options.Group; g != nil {
		if err := r.fillTogether(ctx, plan, set, sampler, c, total, done); err != nil {
			return nil, fmt.Errorf("running the frozen stages: %w", err)
		}
		full = true
		return c, nil
	}
	for b, err := range data.Batches(ctx, set, sampler.Evaluation()) {
		if err != nil {
			return nil, fmt.Errorf("running the frozen stages: %w", err)
		}
		torch.Scoped(func() { c.store(b, r.forward.Run(r.forward.Upload(b), 0, plan.NumFrozen), r.forward, total) })
		if err := done(b.Size()); err != nil {
			return nil, err
		}
	}
	full = true
	return c, nil
}

// store keeps the output for a batch.
func (c *cache[B]) store(b B, output nn.Values, f train.Forward[B], total int) {
	if c.rows == nil {
		c.rows = make(nn.Values, len(output))
		for i, x := range output {
			c.rows[i] = c.allocate(total, c.flat(b, x))
		}
	}
	torch.Inference(func() {
		for i, x := range output {
			fromRows, toRows := c.places(b, x)
			from := f.Bring([]torch.Tensor{torch.FromSlice(fromRows)}, x.Device())[0]
			to := f.Bring([]torch.Tensor{torch.FromSlice(toRows)}, c.device)[0]
			c.rows[i].IndexCopy_(0, to, c.flat(b, x).IndexSelect(0, from).ToDevice(c.device))
		}
	})
}

// allocate makes the rows once one is known. They are made outside inference mode, so that autograd may save them.
func (c *cache[B]) allocate(total int, like torch.Tensor) torch.Tensor {
	rows := torch.NewParam(func() torch.Tensor {
		return torch.Empty(like.DType(), c.device, append([]int{total}, like.Shape()[1:]...)...)
	})
	rows.Select(0, 0).Zero_()
	return rows
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

// lengths returns token counts if the cache stores a row per token, nil if it stores a row per sample.
func (c *cache[B]) lengths(b B) []int {
	if c.perSample {
		return nil
	}
	return b.Lengths()
}

// flat views a stage's output with one row a token, or a sample where nothing is padded.
func (c *cache[B]) flat(b B, x torch.Tensor) torch.Tensor {
	if c.lengths(b) == nil {
		return x
	}
	return x.Flatten(0, 1)
}

// places gives, for every row of a batch's output that is no padding, its position in the flat output and in the cache.
func (c *cache[B]) places(b B, x torch.Tensor) (from, to []int) {
	lengths, width := c.lengths(b), 1
	if lengths != nil {
		width = x.Size(1)
	}
	for k, sample := range b.Indices() {
		n := 1
		if lengths != nil {
			n = lengths[k]
		}
		for j := range n {
			from, to = append(from, k*width+j), append(to, c.starts[sample]+j)
		}
	}
	return from, to
}

// order lists, for every row of a batch's padded output, the kept row that goes there.
func (c *cache[B]) order(b B) torch.Tensor {
	lengths, width := c.lengths(b), 1
	if lengths != nil {
		width = b.Width()
	}
	rows := make([]int, b.Size()*width) // 0 is the row of zeros
	for k, sample := range b.Indices() {
		n := 1
		if lengths != nil {
			n = lengths[k]
		}
		for j := range n {
			rows[k*width+j] = c.starts[sample] + j
		}
	}
	return torch.FromSlice(rows)
}

// NumInputs is 1 where the rows lie on the compute device, and else the number of values.
func (c *cache[B]) NumInputs() int {
	if c.device == c.compute {
		return 1
	}
	return len(c.rows)
}

// Inputs are what must go to the compute device for a batch: the order of rows, where the rows lie there, and else the
// rows.
func (c *cache[B]) Inputs(b B) []torch.Tensor {
	order := c.order(b)
	if c.device == c.compute {
		return []torch.Tensor{order}
	}
	out := make([]torch.Tensor, len(c.rows))
	for i, rows := range c.rows {
		out[i] = rows.IndexSelect(0, order)
	}
	return out
}

// Output gives the frozen stages' output for a batch, padded with zeros.
func (c *cache[B]) Output(b B, inputs []torch.Tensor) nn.Values {
	out := make(nn.Values, len(c.rows))
	for i, rows := range c.rows {
		if c.device == c.compute {
			out[i] = c.padded(b, rows.IndexSelect(0, inputs[0]))
		} else {
			out[i] = c.padded(b, inputs[i])
		}
	}
	return out
}

// padded views flat rows as a batch's.
func (c *cache[B]) padded(b B, x torch.Tensor) torch.Tensor {
	if c.lengths(b) == nil {
		return x
	}
	return x.View(append([]int{b.Size(), b.Width()}, x.Shape()[1:]...)...)
}

// Close frees the rows.
func (c *cache[B]) Close() {
	if c != nil && !c.shared {
		for _, rows := range c.rows {
			rows.Close()
		}
	}
}

func closeBatch(b any) {
	if c, ok := b.(data.Closer); ok {
		c.Close()
	}
}
