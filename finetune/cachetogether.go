package finetune

import (
	"bytes"
	"context"
	"encoding/gob"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/data"
	"github.com/thaw-ml/thaw/torch/dist"
)

// keptRows is what the frozen stages gave for a batch, on the process that ran it.
type keptRows struct {
	Samples int
	To      [][]int // for each value, the rows of the cache
	Rows    []byte  // see dist.Pack
}

// fillTogether runs the frozen stages on this process's share of the samples, and keeps what all processes' shares give.
func (r *run[B]) fillTogether(
	ctx context.Context, plan *Plan, set data.Dataset[B], sampler data.Sampler, c *cache[B], total int, done func(samples int) error,
) error {
	run := func(b B) ([]byte, error) {
		kept := keptRows{Samples: b.Size()}
		var rows []torch.Tensor
		torch.Inference(func() {
			for _, x := range r.forward.Run(b, 0, plan.NumFrozen) {
				from, to := c.places(b, x)
				rows = append(rows, c.flat(b, x).IndexSelect(0, torch.FromSlice(from)))
				kept.To = append(kept.To, to)
			}
		})
		var err error
		if kept.Rows, err = dist.Pack(rows); err != nil {
			return nil, err
		}
		var out bytes.Buffer
		err = gob.NewEncoder(&out).Encode(kept)
		return out.Bytes(), err
	}
	return r.forward.InTurn(ctx, r.options.Group, "running the frozen stages", set, sampler.Evaluation(), run, func(_ int, message []byte) error {
		if len(message) == 0 {
			return nil
		}
		var kept keptRows
		if err := gob.NewDecoder(bytes.NewReader(message)).Decode(&kept); err != nil {
			return err
		}
		err := torch.ScopedErr(func() error {
			rows, err := dist.Unpack(kept.Rows)
			if err != nil {
				return err
			}
			if c.rows == nil {
				for _, x := range rows {
					c.rows = append(c.rows, c.allocate(total, x))
				}
			}
			torch.Inference(func() {
				for i, x := range rows {
					c.rows[i].IndexCopy_(0, torch.FromSlice(kept.To[i]), x)
				}
			})
			return nil
		})
		if err != nil {
			return err
		}
		return done(kept.Samples)
	})
}
