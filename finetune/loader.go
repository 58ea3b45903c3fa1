package finetune

import (
	"context"
	"fmt"
	"iter"
	"runtime/debug"

	"github.com/thaw-ml/thaw/torch"
)

// ahead is the number of batches made before they are asked for.
const ahead = 4

// loaded is a batch that is ready for a step.
type loaded[B Samples[B]] struct {
	batch B
	// inputs are what the step reads, in memory that a device copies from by itself; nil for steps on the CPU, where the
	// model makes them of the batch.
	inputs []torch.Tensor
}

func (l loaded[B]) Close() {
	closeTensors(l.inputs)
	closeBatch(l.batch)
}

// closeBatch frees what a batch holds, where it holds anything.
func closeBatch(b any) {
	if c, ok := b.(interface{ Close() }); ok {
		c.Close()
	}
}

func closeTensors(tensors []torch.Tensor) {
	for _, t := range tensors {
		t.Close()
	}
}

// load makes the batches that are asked for on goroutines of their own, which run ahead of the step, and gives them in
// order. pack, where it is not nil, adds the inputs there. What the loop is given is freed when it goes on.
func load[B Samples[B]](ctx context.Context, data Dataset[B], asked []Request, pack func(B) []torch.Tensor) iter.Seq2[loaded[B], error] {
	type made struct {
		loaded[B]
		err   error
		panic any // of the data set's
	}
	one := func(r Request) (m made) {
		defer func() {
			if p := recover(); p != nil {
				m.panic = fmt.Errorf("making a batch: panic: %v\n\n%s", p, debug.Stack())
			}
		}()
		if failure := torch.Try(func() {
			if m.batch, m.err = data.Batch(r); m.err == nil && pack != nil && m.batch.Size() > 0 {
				m.inputs = pack(m.batch)
			}
		}); failure != nil {
			m.err = failure
		}
		return m
	}
	return func(yield func(loaded[B], error) bool) {
		ctx, stop := context.WithCancel(ctx)
		queue := make(chan chan made, ahead) // a place for each batch, in order, before it is made
		defer func() {
			stop()
			for place := range queue { // the data set is at rest when this returns
				m := <-place
				m.Close()
			}
		}()
		go func() {
			defer close(queue)
			busy := make(chan struct{}, concurrency(data))
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
			if m.panic != nil { // here the caller can recover it
				panic(m.panic)
			}
			if ctx.Err() != nil {
				m.Close()
				break
			}
			if m.err == nil && m.batch.Size() == 0 { // none of its samples can be read
				m.Close()
				continue
			}
			more := func() bool {
				defer m.Close()
				return yield(m.loaded, m.err)
			}()
			if !more || m.err != nil {
				return
			}
		}
		if err := context.Cause(ctx); err != nil {
			yield(loaded[B]{}, err)
		}
	}
}

// concurrency is the number of batches of a data set that may be made at a time.
func concurrency(data any) int {
	if c, ok := data.(interface{ Concurrency() int }); ok {
		return max(1, c.Concurrency())
	}
	return 1
}

// batches is load for what runs on the spot.
func batches[B Samples[B]](ctx context.Context, data Dataset[B], asked []Request) iter.Seq2[B, error] {
	return func(yield func(B, error) bool) {
		for l, err := range load(ctx, data, asked, nil) {
			if !yield(l.batch, err) {
				return
			}
		}
	}
}
