package data

import (
	"context"
	"fmt"
	"iter"
	"runtime/debug"

	"github.com/thaw-ml/thaw/torch"
)

// Ahead is the number of batches that Load makes before they are asked for.
const Ahead = 4

// Loaded is a batch that is ready for a step.
type Loaded[B Batch[B]] struct {
	Batch   B
	Samples int // of the batch; where it is 0, Batch is not to be used
	// Inputs is what pack made of the batch; nil without a pack.
	Inputs []torch.Tensor

	made bool // Batch is one
}

func (l Loaded[B]) close() {
	closeTensors(l.Inputs)
	if l.made {
		closeBatch(l.Batch)
	}
}

// Load makes the batches that are asked for on goroutines of their own, which run ahead of the consumer, and yields
// them in order. pack, where it is not nil, makes tensors of each batch there, such as copies in pinned memory. A batch
// and its tensors are freed when the consumer goes on; a batch without samples is passed over. A panic of the data
// set's is raised on the consumer's goroutine, and the end of ctx is an error.
func Load[B Batch[B]](
	ctx context.Context, set Dataset[B], asked []Request, pack func(B) []torch.Tensor,
) iter.Seq2[Loaded[B], error] {
	return func(yield func(Loaded[B], error) bool) {
		for l, err := range LoadAll(ctx, set, asked, pack) {
			if err == nil && l.Samples == 0 { // none of its samples can be read
				continue
			}
			if !yield(l, err) {
				return
			}
		}
	}
}

// LoadAll is Load that yields something for every batch that is asked for, also where it has no samples: processes that train
// together go through their batches side by side.
//
// Inlined into a method of a generic type, Go 1.26.8 runs the wrong one of its closures: a context is taken for the data set.
//
//go:noinline
func LoadAll[B Batch[B]](
	ctx context.Context, set Dataset[B], asked []Request, pack func(B) []torch.Tensor,
) iter.Seq2[Loaded[B], error] {
	type made struct {
		Loaded[B]
		err   error
		panic any
	}
	one := func(r Request) (m made) {
		defer func() {
			if p := recover(); p != nil {
				m.panic = fmt.Errorf("making a batch: panic: %v\n\n%s", p, debug.Stack())
			}
		}()
		if len(r.Indices) == 0 {
			return m
		}
		if failure := torch.Try(func() {
			if m.Batch, m.err = set.Batch(r); m.err != nil {
				return
			}
			m.made, m.Samples = true, m.Batch.Size()
			if pack != nil && m.Samples > 0 {
				m.Inputs = pack(m.Batch)
			}
		}); failure != nil {
			m.err = failure
		}
		return m
	}
	return func(yield func(Loaded[B], error) bool) {
		ctx, stop := context.WithCancel(ctx)
		queue := make(chan chan made, Ahead) // a place for each batch, in order, before it is made
		defer func() {
			stop()
			for place := range queue { // the data set is at rest when this returns
				m := <-place
				m.close()
			}
		}()
		go func() {
			defer close(queue)
			busy := make(chan struct{}, concurrency(set))
			for _, r := range asked {
				select {
				case busy <- struct{}{}:
				case <-ctx.Done():
					return
				}
				place := make(chan made, 1)
				select {
				case queue <- place:
				case <-ctx.Done():
					return
				}
				go func() {
					place <- one(r)
					<-busy
				}()
			}
		}()
		for place := range queue {
			m := <-place
			if m.panic != nil { // the caller can recover it here
				panic(m.panic)
			}
			if ctx.Err() != nil {
				m.close()
				break
			}
			more := func() bool {
				defer m.close()
				return yield(m.Loaded, m.err)
			}()
			if !more || m.err != nil {
				return
			}
		}
		if err := context.Cause(ctx); err != nil {
			yield(Loaded[B]{}, err)
		}
	}
}

// concurrency is the number of batches of a data set that may be made at a time.
func concurrency(set any) int {
	if c, ok := set.(Concurrent); ok {
		return max(1, c.Concurrency())
	}
	return 1
}

// Batches is Load without packing.
func Batches[B Batch[B]](ctx context.Context, set Dataset[B], asked []Request) iter.Seq2[B, error] {
	return func(yield func(B, error) bool) {
		for l, err := range Load(ctx, set, asked, nil) {
			if !yield(l.Batch, err) {
				return
			}
		}
	}
}
