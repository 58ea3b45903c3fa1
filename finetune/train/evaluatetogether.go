package train

import (
	"bytes"
	"context"
	"encoding/gob"
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
	Output, Targets []byte // see dist.Pack
}

// evaluateTogether adds all batches to the metric, in their order, of which each process runs its share.
func (f Forward[B]) evaluateTogether(ctx context.Context, set data.Dataset[B], e Evaluate[B], m metric.Metric) error {
	samples := 0
	each := func(_ int, message []byte) error {
		if len(message) == 0 { // a batch without samples
			return nil
		}
		var b evaluated
		if err := gob.NewDecoder(bytes.NewReader(message)).Decode(&b); err != nil {
			return err
		}
		err := torch.ScopedErr(func() (err error) {
			output, err := dist.Unpack(b.Output)
			if err != nil {
				return err
			}
			targets, err := dist.Unpack(b.Targets)
			if err != nil {
				return err
			}
			torch.NoGrad(func() {
				autocast(f.Precision, func() { err = m.Add(output, targets) })
			})
			if err == nil && e.Observer != nil {
				err = e.Observer.Observe(b.Indices, output, targets)
			}
			return err
		})
		if err != nil {
			return err
		}
		samples += len(b.Indices)
		if e.OnProgress != nil {
			return e.OnProgress(samples)
		}
		return nil
	}
	return f.InTurn(ctx, e.Group, "evaluating", set, e.Batches, func(b B) (message []byte, err error) {
		torch.NoGrad(func() {
			x, b := f.output(b, e)
			message, err = pack(b.Indices(), x, b.Targets())
		})
		return message, err
	}, each)
}

func pack(indices []int, output, targets nn.Values) (_ []byte, err error) {
	b := evaluated{Indices: indices}
	if b.Output, err = dist.Pack(output); err != nil {
		return nil, err
	}
	if b.Targets, err = dist.Pack(targets); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = gob.NewEncoder(&out).Encode(b)
	return out.Bytes(), err
}

// InTurn runs this process's share of batches and gives each process all messages that came of them, in the batches' order; an
// empty one for a batch without samples. All processes stop where ctx ends on one of them.
func (f Forward[B]) InTurn(
	ctx context.Context, g *dist.Group, doing string, set data.Dataset[B], asked []data.Request,
	run func(B) ([]byte, error), each func(i int, message []byte) error,
) error {
	var own []data.Request
	for i := g.Rank(); i < len(asked); i += g.Size() {
		own = append(own, asked[i])
	}
	next, stop := iter.Pull2(data.LoadAll(context.WithoutCancel(ctx), set, own, nil))
	defer stop()
	return g.InTurn(doing, len(asked), func(int) (message []byte, err error) {
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
		err = torch.ScopedErr(func() (err error) {
			message, err = run(l.Batch)
			return err
		})
		return message, err
	}, each)
}
