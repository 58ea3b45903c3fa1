package finetune

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/internal/rowcache"
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
	values    []keptValue
	starts    []int        // of each sample of each view, in rows
	samples   int          // of the data set
	views     int          // how many rows there are of each sample, 1 where samples are not augmented
	view      int          // the one that is written, or read
	stored    int          // samples of all views that were kept
	perSample bool         // a row is a sample, also of padded data
	shared    bool         // Options.Shared frees the rows
	device    torch.Device // where the rows lie
	compute   torch.Device // where the trained stages run

	writer   *rowcache.Writer // of the file that rows are written to; nil: they are kept in rows
	file     *rowcache.Rows   // that rows are mapped from
	prefetch bool             // the file is larger than memory
}

// keptValue is one of the tensors that the frozen stages give, and how its rows are kept.
type keptValue struct {
	dtype torch.DType // as the stages give it
	kept  torch.DType
	row   []int // shape
}

// bytes is the size of a kept row.
func (v keptValue) bytes() int64 {
	n := int64(v.kept.Size())
	for _, d := range v.row {
		n *= int64(d)
	}
	return n
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
	total := r.train.Len()*max(1, plan.CacheViews) + r.testLen()
	if err := r.emit(train.TaskStarted{Task: task, Samples: total}); err != nil {
		return nil, nil, err
	}
	trainKey, testKey := r.sharedKey(plan, r.training()), ""
	if r.testLen() > 0 {
		testKey = r.sharedKey(plan, r.testing())
	}
	r.roomForShared(plan, trainKey, testKey)
	samples := 0
	done := func(n int) error {
		samples = min(total, samples+n) // what is begun again counts once
		return r.emit(train.Progress{Task: task, Samples: samples})
	}
	complete := false
	defer func() {
		if !complete { // an error, or a panic of the model's
			trained.Close()
			test.Close()
		}
	}()
	if trained, err = r.sharedCache(ctx, trainKey, plan, r.training(), done); err != nil {
		return nil, nil, err
	}
	if r.testLen() > 0 {
		if test, err = r.sharedCache(ctx, testKey, plan, r.testing(), done); err != nil {
			return trained, nil, err
		}
	}
	if err := r.emit(train.TaskDone{Task: task, Samples: samples, Elapsed: time.Since(began)}); err != nil {
		return trained, test, err
	}
	complete = true
	return trained, test, nil
}

// split is one of the run's data sets.
type split[B data.Batch[B]] struct {
	set     data.Dataset[B]
	batches []data.Request // in which frozen stages run on all of them
	random  bool           // they are augmented
}

func (r *run[B]) training() split[B] {
	return split[B]{r.train, r.trainSampler.Evaluation(), r.train.Augmented()}
}

func (r *run[B]) testing() split[B] { return split[B]{r.test, r.testSampler.Evaluation(), false} }

// viewsOf is the number of views that are kept of samples.
func (p *Plan) viewsOf(random bool) int {
	if random {
		return max(1, p.CacheViews)
	}
	return 1
}

// newCache makes a cache without rows for a data set, and gives the number of rows that it will have.
func (r *run[B]) newCache(plan *Plan, of split[B]) (c *cache[B], rows int) {
	c = &cache[B]{
		samples: of.set.Len(), views: plan.viewsOf(of.random), values: plan.values, perSample: plan.perSample(),
		device: plan.CacheDevice, compute: r.backend.Device(), prefetch: !plan.inMemory,
	}
	c.starts = make([]int, c.views*c.samples)
	rows = 1
	for i := range c.starts {
		c.starts[i] = rows
		rows += plan.keptRows(of.set.Length(i % c.samples))
	}
	return c, rows
}

// fillCache runs the frozen stages once on every sample of a data set, in inference mode, and keeps their output on the
// plan's device, or where the cache has a writer in its file.
func (r *run[B]) fillCache(
	ctx context.Context, plan *Plan, of split[B], c *cache[B], total int, done func(samples int) error,
) error {
	for c.view = range c.views {
		if err := r.fillView(ctx, plan, of, c, total, done); err != nil {
			return fmt.Errorf("running the frozen stages: %w", err)
		}
	}
	c.view = 0
	return nil
}

// fillView is fillCache for the view that the cache is at. View v is what the samples are in epoch v+1.
func (r *run[B]) fillView(
	ctx context.Context, plan *Plan, of split[B], c *cache[B], total int, done func(samples int) error,
) error {
	asked := slices.Clone(of.batches)
	if of.random {
		for i := range asked {
			asked[i].Epoch = c.view + 1
		}
	}
	if r.options.Group != nil {
		return r.fillTogether(ctx, plan, of.set, asked, c, total, done)
	}
	for b, err := range data.Batches(ctx, of.set, asked) {
		if err != nil {
			return err
		}
		torch.Scoped(func() { err = c.store(b, r.forward.Run(r.forward.Upload(b), 0, plan.NumFrozen), r.forward, total) })
		if err != nil {
			return err
		}
		if err := done(b.Size()); err != nil {
			return err
		}
	}
	return nil
}

// store keeps the output for a batch. An error is of the file that it is written to.
func (c *cache[B]) store(b B, output nn.Values, f train.Forward[B], total int) (err error) {
	c.stored += b.Size()
	if c.writer == nil {
		c.allocate(total)
	}
	torch.Inference(func() {
		for i, x := range output {
			fromRows, toRows := c.places(b, x)
			from := f.Bring([]torch.Tensor{torch.FromSlice(fromRows)}, x.Device())[0]
			rows := c.keep(i, c.flat(b, x).IndexSelect(0, from))
			if c.writer != nil {
				if err = c.write(i, b, rows.ToDevice(torch.CPU)); err != nil {
					return
				}
				continue
			}
			to := f.Bring([]torch.Tensor{torch.FromSlice(toRows)}, c.device)[0]
			c.rows[i].IndexCopy_(0, to, rows.ToDevice(c.device))
		}
	})
	return err
}

// keep gives rows of a value as they are kept.
func (c *cache[B]) keep(value int, rows torch.Tensor) torch.Tensor {
	return rows.To(c.values[value].kept)
}

// allocate makes the rows, where that is not done: outside inference mode, so that autograd may save them.
func (c *cache[B]) allocate(total int) {
	if c.rows != nil {
		return
	}
	for _, v := range c.values {
		rows := torch.NewParam(func() torch.Tensor {
			return torch.Empty(v.kept, c.device, append([]int{total}, v.row...)...)
		})
		rows.Select(0, 0).Zero_()
		c.rows = append(c.rows, rows)
	}
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
		start := c.start(sample)
		for j := range n {
			from, to = append(from, k*width+j), append(to, start+j)
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
		start := c.start(sample)
		for j := range n {
			rows[k*width+j] = start + j
		}
		if c.prefetch && c.file != nil {
			for i := range c.rows {
				c.file.Prefetch(i, start, start+n)
			}
		}
	}
	return torch.FromSlice(rows)
}

// start is the first row of a sample, in the view that the cache is at.
func (c *cache[B]) start(sample int) int { return c.starts[c.view*c.samples+sample] }

// showEpoch has the cache read the view of an epoch, counted from 1.
func (c *cache[B]) showEpoch(epoch int) {
	if c != nil {
		c.view = (epoch - 1) % c.views
	}
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
		x := inputs[min(i, len(inputs)-1)]
		if c.device == c.compute {
			x = rows.IndexSelect(0, x)
		}
		out[i] = c.padded(b, x.To(c.values[i].dtype))
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
	if c == nil || c.shared {
		return
	}
	for _, rows := range c.rows {
		rows.Close()
	}
	c.rows = nil
	c.writer.Abandon()
	_ = c.file.Close() // of what was only read
	c.writer, c.file = nil, nil
}

func closeBatch(b any) {
	if c, ok := b.(data.Closer); ok {
		c.Close()
	}
}
