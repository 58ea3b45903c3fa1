package finetune

import (
	"context"

	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/data"
	"github.com/thaw-ml/thaw/torch/dist"
)

// keptRows is what the frozen stages gave for a batch, on the process that ran it.
type keptRows struct {
	Samples int
	To      [][]int // for each value, the rows of the cache
	Rows    dist.Tensors
}

// fillTogether runs the frozen stages on this process's share of the samples, and keeps what all processes' shares give.
func (r *run[B]) fillTogether(
	ctx context.Context, plan *Plan, set data.Dataset[B], asked []data.Request, c *cache[B], total int, done func(samples int) error,
) error {
	run := func(b B) (keptRows, error) {
		kept := keptRows{Samples: b.Size()}
		torch.Inference(func() {
			for i, x := range r.forward.Run(r.forward.Upload(b), 0, plan.NumFrozen) {
				from, to := c.places(b, x)
				order := r.forward.Bring([]torch.Tensor{torch.FromSlice(from)}, x.Device())[0]
				kept.Rows = append(kept.Rows, c.keep(i, c.flat(b, x).IndexSelect(0, order)))
				kept.To = append(kept.To, to)
			}
		})
		return kept, nil
	}
	return train.InTurn(ctx, r.options.Group, "running the frozen stages", set, asked, run, func(kept keptRows) error {
		c.stored += kept.Samples
		c.allocate(total)
		torch.Inference(func() {
			for i, x := range kept.Rows {
				there := r.forward.Bring([]torch.Tensor{torch.FromSlice(kept.To[i]), x}, c.device)
				c.rows[i].IndexCopy_(0, there[0], there[1])
			}
		})
		return done(kept.Samples)
	})
}
