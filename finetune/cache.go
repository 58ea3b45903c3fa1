package finetune

import (
	"context"
	"fmt"

	"github.com/thaw-ml/thaw/torch"
)

// cache keeps the output of the frozen prefix for every sample of a data set. Rows of padding are not kept.
type cache[B Samples] struct {
	// rows is [total+1, ...]: for padded data one row a token, else one a sample; row 0 is zeros and stands for padding.
	rows   torch.Tensor
	starts []int // of each sample, in rows
}

// fillCache runs the stages [0, prefix) once on every sample, in inference mode.
func fillCache[B Samples](ctx context.Context, model Model[B], data Dataset[B], prefix int, groups [][]int, done func(samples int)) (*cache[B], error) {
	c := &cache[B]{starts: make([]int, data.Len())}
	full := false
	defer func() {
		if !full { // an error, or a panic of the model's
			c.Close()
		}
	}()
	total := 1
	for i := range c.starts {
		c.starts[i] = total
		total += data.Length(i)
	}
	for b, err := range batches(ctx, data, groups) {
		if err != nil {
			return nil, fmt.Errorf("running the frozen stages: %w", err)
		}
		c.add(model, b, prefix, total)
		done(b.Size())
	}
	full = true
	return c, nil
}

// add runs a batch and keeps what is no padding.
func (c *cache[B]) add(model Model[B], b B, prefix, total int) {
	torch.Scoped(func() {
		var x torch.Tensor
		torch.Inference(func() { x = model.Forward(b, torch.Tensor{}, 0, prefix) })
		if !c.rows.Defined() {
			c.allocate(total, flat(b, x).Shape()[1:])
		}
		torch.Inference(func() {
			from, to := c.places(b, x)
			c.rows.IndexCopy_(0, to, flat(b, x).IndexSelect(0, from))
		})
	})
}

// allocate makes the rows once the shape of one is known. They are made outside inference mode, so that autograd may
// save them.
func (c *cache[B]) allocate(total int, shape []int) {
	torch.Unscoped(func() {
		c.rows = torch.Empty(torch.Float32, torch.CPU, append([]int{total}, shape...)...)
	})
	c.rows.Select(0, 0).Zero_()
}

// rowShape is the shape of a kept row.
func rowShape[B Samples](model Model[B], b B, prefix int) (shape []int) {
	torch.Scoped(func() {
		torch.Inference(func() { shape = flat(b, model.Forward(b, torch.Tensor{}, 0, prefix)).Shape()[1:] })
	})
	return shape
}

// flat views a stage's output with one row a token, or a sample where nothing is padded.
func flat(b Samples, x torch.Tensor) torch.Tensor {
	if b.Lengths() == nil {
		return x
	}
	return x.Flatten(0, 1)
}

// places gives, for every row of a batch's output that is no padding, its position in the flat output and in the cache.
func (c *cache[B]) places(b B, x torch.Tensor) (from, to torch.Tensor) {
	var f, t []int
	lengths, width := b.Lengths(), 1
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

// batch gives the prefix's output for a batch, padded with zeros.
func (c *cache[B]) batch(b B) torch.Tensor {
	lengths, width := b.Lengths(), 1
	for _, n := range lengths {
		width = max(width, n)
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
	x := c.rows.IndexSelect(0, torch.FromSlice(rows))
	if lengths == nil {
		return x
	}
	return x.View(append([]int{b.Size(), width}, x.Shape()[1:]...)...)
}

// Close frees the rows.
func (c *cache[B]) Close() {
	if c != nil {
		c.rows.Close()
	}
}
