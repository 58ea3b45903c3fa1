package serve

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"github.com/thaw-ml/thaw/finetune/train/objective"
)

// batch is what requests that are computed together share.
type batch struct {
	asking int                // callers who wait for it still
	cancel context.CancelFunc // ends the context that the model has for it
}

// run computes batch after batch, until the server is closed and the queue empty.
func (s *Server[I, E]) run(ctx context.Context) {
	runtime.LockOSThread() // for good: the thread, and what libtorch keeps for it, ends with the goroutine
	defer close(s.ended)
	for s.await() {
		ctx, cancel := context.WithCancel(ctx)
		s.compute(ctx, s.take(cancel))
		cancel()
	}
}

// await waits until there is a batch to compute. It is false when there will be none any more.
func (s *Server[I, E]) await() bool {
	var timeout <-chan time.Time // of the rest
	for {
		s.mutex.Lock()
		queued, closed, left := len(s.queue), s.closed, s.rest.left(time.Now())
		s.mutex.Unlock()
		switch {
		case queued > 0 && (closed || left == 0):
			return true
		case queued == 0 && closed:
			return false
		case queued > 0:
			timeout = time.After(left)
		}
		select {
		case <-s.wake:
		case <-timeout:
		}
	}
}

// take takes a batch out of the queue; none where all who asked are gone.
func (s *Server[I, E]) take(cancel context.CancelFunc) []*request[E] {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if len(s.queue) == 0 {
		return nil
	}
	costs := make([]int, len(s.queue))
	for i, r := range s.queue {
		costs[i] = r.cost
	}
	b := &batch{cancel: cancel}
	var requests []*request[E]
	for _, i := range choose(costs, s.options.MaxBatch, s.options.MaxTokens) {
		r := s.queue[i]
		r.batch = b
		requests = append(requests, r)
	}
	b.asking = len(requests)
	s.queue = slices.DeleteFunc(s.queue, func(r *request[E]) bool { return r.batch != nil })
	return requests
}

// compute answers requests. Where the model has an error, it tries each half of them: the error is then that of the
// requests that are the cause, and a batch for which memory does not suffice is computed in smaller ones.
func (s *Server[I, E]) compute(ctx context.Context, requests []*request[E]) {
	if len(requests) == 0 {
		return
	}
	predictions, err := s.predict(ctx, requests)
	if _, panicked := err.(*PanicError); err != nil && len(requests) > 1 && !panicked && ctx.Err() == nil {
		half := len(requests) / 2
		s.compute(ctx, requests[:half])
		s.compute(ctx, requests[half:])
		return
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if err != nil {
		s.stats.Failed += len(requests)
		if s.aborted {
			err = fmt.Errorf("serve: %w", ErrClosed)
		}
	}
	for i, r := range requests {
		a := answer{err: err}
		if err == nil {
			a.prediction = predictions[i]
		}
		r.answer <- a
	}
	s.rest.batchAnswered(time.Now(), len(requests))
}

// predict has the model compute a batch.
func (s *Server[I, E]) predict(ctx context.Context, requests []*request[E]) (_ []objective.Prediction, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &PanicError{Value: p, Stack: debug.Stack()}
		}
	}()
	batch := make([]E, len(requests))
	cost, longest := 0, 0
	for i, r := range requests {
		batch[i] = r.input
		cost, longest = cost+r.cost, max(longest, r.cost)
	}
	s.mutex.Lock()
	s.stats.Batches++
	s.stats.Tokens += cost
	s.stats.Padded += longest*len(batch) - cost
	s.mutex.Unlock()
	predictions, err := s.model.PredictEncoded(ctx, batch)
	if err == nil && len(predictions) != len(batch) {
		err = fmt.Errorf("serve: the model gave %d predictions for %d inputs", len(predictions), len(batch))
	}
	return predictions, err
}
