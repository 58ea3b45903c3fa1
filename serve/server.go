package serve

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/thaw-ml/thaw/finetune/train/objective"
)

// Model is what a [Server] asks. I is what callers give, such as a text; E is what becomes of it before it is computed,
// such as token ids.
type Model[I, E any] interface {
	// Encode prepares an input. It is called on the caller's goroutine, on many at once, and is not to use libtorch.
	Encode(input I) (E, error)
	// Cost is an input's length along the dimension that is padded in a batch, such as the number of its tokens; 1
	// where nothing is padded.
	Cost(input E) int
	// PredictEncoded computes a batch, and gives as many predictions as there are inputs, in their order. It is called
	// on one thread, which stays the same, and never twice at a time. ctx ends when nobody waits for the batch any
	// more.
	PredictEncoded(ctx context.Context, batch []E) ([]objective.Prediction, error)
}

// Server answers many callers with one model, see [Start].
type Server[I, E any] struct {
	model   Model[I, E]
	options Options

	wake  chan struct{} // tells the thread that a request came, or that the server was closed
	ended chan struct{} // closed when the thread has ended
	abort context.CancelFunc

	mutex    sync.Mutex
	queue    []*request[E] // oldest first
	encoding int           // requests that have a place in the queue and are being encoded
	closed   bool
	aborted  bool
	rest     rest
	stats    Stats
}

// Start starts the thread that computes. It is to be ended by Close, and the model is to be closed after that.
func Start[I, E any](model Model[I, E], o Options) (*Server[I, E], error) {
	o, err := o.resolved()
	if err != nil {
		return nil, err
	}
	if v := reflect.ValueOf(model); !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		return nil, errors.New("serve: Start: the model is nil")
	}
	ctx, abort := context.WithCancel(context.Background())
	s := &Server[I, E]{
		model: model, options: o, wake: make(chan struct{}, 1), ended: make(chan struct{}), abort: abort,
		rest: rest{longest: o.MaxWait},
	}
	go s.run(ctx)
	return s, nil
}

// request is an input that waits to be computed, or is being computed.
type request[E any] struct {
	input  E
	cost   int
	came   time.Time
	answer chan answer // has room for one: the thread never waits for a caller
	batch  *batch      // nil while it waits in the queue
}

type answer struct {
	prediction objective.Prediction
	err        error
}

// Predict answers one request. The prediction's Input stays empty, as the caller has it. Any number of goroutines may
// call it at once. It returns when the answer is there, or, with ctx's error, as soon as ctx ends: a request that
// waits is taken out of the queue then.
//
// Its errors are [ErrFull], [ErrClosed], an [*InputError] where Encode had one, a [*PanicError], those of
// PredictEncoded, and ctx's.
func (s *Server[I, E]) Predict(ctx context.Context, input I) (objective.Prediction, error) {
	r, err := s.ask(ctx, input)
	if err != nil {
		return objective.Prediction{}, err
	}
	select {
	case a := <-r.answer:
		return a.prediction, a.err
	case <-ctx.Done():
		s.cancel(r)
		return objective.Prediction{}, ctx.Err()
	}
}

// PredictAll answers many requests, in their order. It takes at most twice MaxBatch places in the queue at a time. The
// first error ends it.
func (s *Server[I, E]) PredictAll(ctx context.Context, inputs []I) ([]objective.Prediction, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	predictions := make([]objective.Prediction, len(inputs))
	places := make(chan struct{}, min(2*s.options.MaxBatch, s.options.MaxQueue))
	var group sync.WaitGroup
	for i, input := range inputs {
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		group.Go(func() {
			defer func() { <-places }()
			var err error
			if predictions[i], err = s.Predict(ctx, input); err != nil {
				stop(fmt.Errorf("input %d: %w", i, err)) // the first call alone has an effect
			}
		})
	}
	group.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	return predictions, nil
}

// ask encodes an input and puts it into the queue.
func (s *Server[I, E]) ask(ctx context.Context, input I) (*request[E], error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := s.admit(); err != nil {
		return nil, err
	}
	r := &request[E]{answer: make(chan answer, 1)}
	err := s.encode(r, input)
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.encoding--
	switch {
	case err != nil:
		return nil, err
	case s.closed:
		return nil, s.refusal(ErrClosed)
	}
	r.came = time.Now()
	s.queue = append(s.queue, r)
	s.rest.came(r.came)
	s.signal()
	return r, nil
}

// admit gives a request a place in the queue.
func (s *Server[I, E]) admit() error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.closed {
		return s.refusal(ErrClosed)
	}
	if len(s.queue)+s.encoding >= s.options.MaxQueue {
		return s.refusal(ErrFull)
	}
	s.encoding++
	s.stats.Requests++
	return nil
}

// refusal counts a request that gets no place, and words its error.
func (s *Server[I, E]) refusal(err error) error {
	s.stats.Refused++
	if err == ErrFull {
		return fmt.Errorf("serve: %w: %d requests wait already; ask again later, or raise Options.MaxQueue if memory and patience allow",
			err, s.options.MaxQueue)
	}
	return fmt.Errorf("serve: %w", err)
}

// encode prepares an input on the caller's goroutine.
func (s *Server[I, E]) encode(r *request[E], input I) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &PanicError{Value: p, Stack: debug.Stack()}
		}
	}()
	if r.input, err = s.model.Encode(input); err != nil {
		return &InputError{err}
	}
	r.cost = max(1, s.model.Cost(r.input))
	return nil
}

// signal wakes the thread.
func (s *Server[I, E]) signal() {
	select {
	case s.wake <- struct{}{}:
	default: // it has been told
	}
}

// cancel drops a request whose caller is gone.
func (s *Server[I, E]) cancel(r *request[E]) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.stats.Cancelled++
	if r.batch == nil {
		s.queue = slices.DeleteFunc(s.queue, func(other *request[E]) bool { return other == r })
		return
	}
	if r.batch.asking--; r.batch.asking == 0 {
		r.batch.cancel()
	}
}

// Close refuses requests from now on, waits until all that wait are answered, and ends the thread. The model may be
// closed then. Calls after the first wait too.
func (s *Server[I, E]) Close() { _ = s.Shutdown(context.Background()) }

// Shutdown is Close that answers what waits only until ctx ends: from then on requests that are not being computed have
// ErrClosed for an answer, and Shutdown returns ctx's error. It always waits for the batch that the model is computing,
// so the model may be closed afterwards.
func (s *Server[I, E]) Shutdown(ctx context.Context) error {
	s.mutex.Lock()
	s.closed = true
	s.mutex.Unlock()
	s.signal()
	select {
	case <-s.ended:
		return nil
	case <-ctx.Done():
	}
	s.mutex.Lock()
	s.aborted = true
	for _, r := range s.queue {
		r.answer <- answer{err: s.refusal(ErrClosed)}
	}
	s.queue = nil
	s.mutex.Unlock()
	s.abort()
	s.signal()
	<-s.ended
	return ctx.Err()
}
