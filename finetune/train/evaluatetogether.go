package train

import (
	"context"
	"fmt"
	"iter"

	"github.com/thaw-ml/thaw/finetune/train/metric"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/data"
	"github.com/thaw-ml/thaw/torch/dist"
	"github.com/thaw-ml/thaw/torch/nn"
)

// evaluated is what a metric needs of a batch that another process ran.
type evaluated struct {
	Indices         []int
	Output, Targets dist.Tensors
}

// evaluateTogether adds all batches to the metric, in their order, of which each process runs its share.
func (f Forward[B]) evaluateTogether(ctx context.Context, set data.Dataset[B], e Evaluate[B], m metric.Metric) error {
	samples := 0
	run := func(b B) (out evaluated, err error) {
		torch.NoGrad(func() {
			x, b := f.output(b, e)
			out = evaluated{b.Indices(), dist.Tensors(x), b.Targets()}
		})
		return out, nil
	}
	return InTurn(ctx, e.Group, "evaluating", set, e.Batches, run, func(b evaluated) (err error) {
		device := f.Backend.Device()
		output, targets := nn.Values(f.Bring(b.Output, device)), nn.Values(f.Bring(b.Targets, device))
		torch.NoGrad(func() {
			autocast(f.Precision, func() { err = m.Add(output, targets) })
		})
		if err == nil && e.Observer != nil {
			err = e.Observer.Observe(b.Indices, output, targets)
		}
		if err != nil {
			return err
		}
		samples += len(b.Indices)
		if e.OnProgress != nil {
			return e.OnProgress(samples)
		}
		return nil
	})
}

// InTurn runs this process's share of batches and gives each process what came of all of them, in the batches' order but for those
// without samples. run and each are called in a scope. All processes stop where ctx ends on one of them.
func InTurn[B data.Batch[B], M any](
	ctx context.Context, g *dist.Group, doing string, set data.Dataset[B], asked []data.Request, run func(B) (M, error), each func(M) error,
) error {
	var own []data.Request
	for i := g.Rank(); i < len(asked); i += g.Size() {
		own = append(own, asked[i])
	}
	next, stop := iter.Pull2(data.LoadAll(context.WithoutCancel(ctx), set, own, nil))
	defer stop()
	piece := func(int) (message []byte, err error) {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		l, err, ok := next()
		if err != nil || !ok {
			return nil, fmt.Errorf("the next batch: %w", err)
		}
		if l.Samples == 0 {
			return nil, nil
		}
		err = torch.ScopedErr(func() error {
			made, err := run(l.Batch)
			if err == nil {
				message, err = dist.Encode(made)
			}
			return err
		})
		return message, err
	}
	return g.InTurn(doing, len(asked), piece, func(_ int, message []byte) error {
		if len(message) == 0 {
			return nil
		}
		return torch.ScopedErr(func() error {
			var made M
			if err := dist.Decode(message, &made); err != nil {
				return err
			}
			return each(made)
		})
	})
}
