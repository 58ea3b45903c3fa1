package serve_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune/train/objective"
	"github.com/thaw-ml/thaw/serve"
)

// fake is a model of strings: the label of an input is the input in upper case, its cost its length.
type fake struct {
	mutex   sync.Mutex
	batches [][]string
	threads map[int]bool

	takes  time.Duration // for a batch
	before func(ctx context.Context, batch []string) error
	encode func(input string) (string, error)
}

func (f *fake) Encode(input string) (string, error) {
	if f.encode != nil {
		return f.encode(input)
	}
	return input, nil
}

func (f *fake) Cost(input string) int { return len(input) }

func (f *fake) PredictEncoded(ctx context.Context, batch []string) ([]objective.Prediction, error) {
	f.mutex.Lock()
	f.batches = append(f.batches, slices.Clone(batch))
	if f.threads == nil {
		f.threads = map[int]bool{}
	}
	f.threads[syscall.Gettid()] = true
	before := f.before
	f.mutex.Unlock()
	time.Sleep(f.takes)
	if before != nil {
		if err := before(ctx, batch); err != nil {
			return nil, err
		}
	}
	out := make([]objective.Prediction, len(batch))
	for i, input := range batch {
		out[i].Label = strings.ToUpper(input)
	}
	return out, nil
}

// now has before called for each batch from now on.
func (f *fake) now(before func(ctx context.Context, batch []string) error) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.before = before
}

// seen are the batches so far, the inputs of each sorted.
func (f *fake) seen() [][]string {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	out := make([][]string, len(f.batches))
	for i, b := range f.batches {
		out[i] = slices.Sorted(slices.Values(b))
	}
	return out
}

func start(t testing.TB, f *fake, o serve.Options) *serve.Server[string, string] {
	t.Helper()
	s, err := serve.Start(f, o)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s
}

// result is what a call of Predict gave, and when.
type result struct {
	label string
	err   error
	after time.Duration
}

// ask calls Predict on a goroutine.
func ask(ctx context.Context, s *serve.Server[string, string], input string) <-chan result {
	done := make(chan result, 1)
	began := time.Now()
	go func() {
		p, err := s.Predict(ctx, input)
		done <- result{p.Label, err, time.Since(began)}
	}()
	return done
}

var errDamaged = errors.New("the weights are damaged")
