package finetune

import (
	"context"
	"fmt"
	"slices"

	"github.com/thaw-ml/thaw/torch"
)

// cache keeps the output of the frozen prefix for every sample of a data set. Rows of padding are not kept.
type cache[B Samples[B]] struct {
	// rows is [total+1, ...]: for padded data one row a token, else one a sample; row 0 is zeros and stands for padding.
	rows   torch.Tensor
	starts []int // of each sample, in rows
	pooled bool  // a row is a sample, also of padded data
}

// fillCache runs the frozen stages once on every sample of a data set, in inference mode, and keeps what they give on the
// device on.
func (r *run[B]) fillCache(ctx context.Context, plan *Plan, data Dataset[B], asked []Request, on torch.Device, done func(samples int)) (*cache[B], error) {
	c := &cache[B]{starts: make([]int, data.Len()), pooled: plan.pooled()}
	full := false
	defer func() {
		if !full { // an error, or a panic of the model's
			c.Close()
		}
	}()
	total := 1
	for i := range c.starts {
		c.starts[i] = total
		total += plan.keptRows(data.Length(i))
	}
	for b, err := range batches(ctx, data, asked) {
		if err != nil {
			return nil, fmt.Errorf("running the frozen stages: %w", err)
		}
		torch.Scoped(func() {
			x := r.frozen(plan, r.upload(b))
			if !c.rows.Defined() {
				c.allocate(total, c.flat(b, x), on)
			}
			torch.Inference(func() {
				from, to := c.places(b, x)
				from, to = r.bring([]torch.Tensor{from}, x.Device())[0], r.bring([]torch.Tensor{to}, on)[0]
				c.rows.IndexCopy_(0, to, c.flat(b, x).IndexSelect(0, from).ToDevice(on))
			})
		})
		done(b.Size())
	}
	full = true
	return c, nil
}

// frozen gives the output of the frozen stages for a batch, for nothing but to be kept.
func (r *run[B]) frozen(plan *Plan, b B) (x torch.Tensor) {
	torch.Inference(func() {
		r.withPrecision(func() { x = r.model.Forward(b, torch.Tensor{}, 0, plan.Prefix) })
	})
	return x
}

// allocate makes the rows once one is known. They are made outside inference mode, so that autograd may save them.
func (c *cache[B]) allocate(total int, like torch.Tensor, on torch.Device) {
	torch.Unscoped(func() {
		c.rows = torch.Empty(like.DType(), on, append([]int{total}, like.Shape()[1:]...)...)
	})
	c.rows.Select(0, 0).Zero_()
}

// pooled reports whether what the prefix gives is one row a sample.
func (p *Plan) pooled() bool {
	return p.Prefix > 0 && p.Prefix <= len(p.Stages) && slices.ContainsFunc(p.Stages[:p.Prefix], func(s StagePlan) bool { return s.Pooled })
}

// keptRows is how many rows of what the prefix gives are kept of a sample.
func (p *Plan) keptRows(length int) int {
	if p.pooled() {
		return 1
	}
	return length
}

// rowBytes is the size of a kept row.
func (r *run[B]) rowBytes(plan *Plan, b B) (bytes int64) {
	c := &cache[B]{pooled: plan.pooled()}
	torch.Scoped(func() {
		row := c.flat(b, r.frozen(plan, r.upload(b))).Select(0, 0)
		bytes = int64(row.NBytes())
	})
	return bytes
}

// lengths are those of a batch's samples, where a kept row is a token.
func (c *cache[B]) lengths(b B) []int {
	if c.pooled {
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
func (c *cache[B]) places(b B, x torch.Tensor) (from, to torch.Tensor) {
	var f, t []int
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
			f, t = append(f, k*width+j), append(t, c.starts[sample]+j)
		}
	}
	return torch.FromSlice(f), torch.FromSlice(t)
}

// batch gives the prefix's output for a batch on a device, padded with zeros.
func (c *cache[B]) batch(b B, device torch.Device) torch.Tensor {
	return c.output(b, c.input(b, device).ToDevice(device))
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

// padded views flat rows as a batch's.
func (c *cache[B]) padded(b B, x torch.Tensor) torch.Tensor {
	if c.lengths(b) == nil {
		return x
	}
	return x.View(append([]int{b.Size(), b.Width()}, x.Shape()[1:]...)...)
}

// input is what must go to a device for a batch: the order, where the rows lie there, and else the rows.
func (c *cache[B]) input(b B, device torch.Device) torch.Tensor {
	if c.rows.Device() == device {
		return c.order(b)
	}
	return c.rows.IndexSelect(0, c.order(b))
}

// output gives the prefix's output for a batch whose input is on the device.
func (c *cache[B]) output(b B, input torch.Tensor) torch.Tensor {
	if c.rows.Device() == input.Device() {
		input = c.rows.IndexSelect(0, input)
	}
	return c.padded(b, input)
}

// Close frees the rows.
func (c *cache[B]) Close() {
	if c != nil {
		c.rows.Close()
	}
}
