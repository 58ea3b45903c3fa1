package serve_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/serve"
)

// Tests run in bubbles of testing/synctest: time stands still while anything can run, so that order and waits are
// exact, and a goroutine that is left behind fails the test.

func TestEachCallerGetsItsOwnAnswer(t *testing.T) {
	f := &fake{}
	s := start(t, f, serve.Options{})
	var callers sync.WaitGroup
	for c := range 50 {
		callers.Go(func() {
			for i := range 40 {
				input := fmt.Sprintf("%d/%d%s", c, i, strings.Repeat("x", (c*i)%70))
				p, err := s.Predict(t.Context(), input)
				if assert.NoError(t, err) {
					assert.Equal(t, strings.ToUpper(input), p.Label)
				}
			}
		})
	}
	callers.Wait()
	stats := s.Stats()
	assert.Equal(t, 2000, stats.Requests)
	assert.Equal(t, len(f.seen()), stats.Batches)
	assert.Zero(t, stats.Queued+stats.Refused+stats.Cancelled+stats.Failed)
	assert.Len(t, f.threads, 1, "all batches are computed on one thread")
	assert.NotContains(t, f.threads, syscall.Gettid())
}

func TestALoneRequestIsComputedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, &fake{takes: 10 * time.Millisecond}, serve.Options{MaxWait: time.Hour})
		for range 3 {
			r := <-ask(t.Context(), s, "a")
			assert.Equal(t, result{"A", nil, 10 * time.Millisecond}, r)
			time.Sleep(2 * time.Hour)
		}
	})
}

// hold starts a server whose model computes a first request for a second, during which others may come.
func hold(t *testing.T, f *fake, o serve.Options) *serve.Server[string, string] {
	f.takes = time.Second
	s := start(t, f, o)
	ask(t.Context(), s, "first")
	synctest.Wait()
	return s
}

func TestRequestsThatWaitAreComputedTogether(t *testing.T) {
	long := func(s string) string { return s + strings.Repeat("-", 200) }
	for _, c := range []struct {
		name    string
		options serve.Options
		inputs  []string
		batches [][]string
	}{
		{"all", serve.Options{}, []string{"a", "b", "c"}, [][]string{{"a", "b", "c"}}},
		{"those of like length", serve.Options{}, []string{long("a"), "b", long("c"), "d", "e"},
			[][]string{{long("a"), long("c")}, {"b", "d", "e"}}},
		{"at most MaxBatch", serve.Options{MaxBatch: 2}, []string{"a", "b", "c"}, [][]string{{"a", "b"}, {"c"}}},
		{"at most MaxTokens", serve.Options{MaxTokens: 4}, []string{"aa", "bb", "cc"}, [][]string{{"aa", "bb"}, {"cc"}}},
		{"more than MaxTokens alone", serve.Options{MaxTokens: 1}, []string{"aa", "bb"}, [][]string{{"aa"}, {"bb"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fake{}
				s := hold(t, f, c.options)
				for _, input := range c.inputs {
					ask(t.Context(), s, input)
					synctest.Wait()
				}
				s.Close()
				assert.Equal(t, append([][]string{{"first"}}, c.batches...), f.seen())
			})
		})
	}
}

func TestNoRequestStarves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := hold(t, &fake{}, serve.Options{MaxBatch: 4})
		odd := ask(t.Context(), s, strings.Repeat("x", 500))
		synctest.Wait()
		for i := range 40 { // short ones make full batches, and go on coming
			ask(t.Context(), s, "short")
			synctest.Wait()
			if i%4 == 3 {
				time.Sleep(time.Second)
			}
		}
		assert.Equal(t, 2*time.Second, (<-odd).after, "the oldest of those that wait is next, however few are like it")
	})
}

func TestCallersWhoComeBackAreWaitedFor(t *testing.T) {
	const takes = 10 * time.Millisecond
	for _, c := range []struct {
		name    string
		think   time.Duration // between a caller's answer and its next request
		longest time.Duration // that a request takes, but for the first of all callers
	}{
		{"they come soon, and share every batch", time.Millisecond, takes},
		{"they come later than MaxWait, and nobody rests for them", 3 * time.Millisecond, 2*takes - 3*time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fake{takes: takes}
				s := start(t, f, serve.Options{})
				var callers sync.WaitGroup
				for i := range 8 {
					callers.Go(func() {
						for round := range 10 {
							time.Sleep(c.think + time.Duration(i)) // one after the other
							r := <-ask(t.Context(), s, "x")
							if round > 2 && round < 9 { // the one that came first is done a round earlier
								assert.LessOrEqual(t, r.after, c.longest+time.Microsecond)
							}
						}
					})
				}
				callers.Wait()
				if seen := f.seen(); c.longest == takes {
					assert.Len(t, seen[len(seen)-3], 8)
				}
			})
		})
	}
}

func TestAFullQueueRefusesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := make(chan struct{})
		f := &fake{encode: func(input string) (string, error) {
			if input == "slow" {
				<-slow
			}
			return input, nil
		}}
		s := hold(t, f, serve.Options{MaxQueue: 3})
		answers := []<-chan result{ask(t.Context(), s, "a"), ask(t.Context(), s, "b"), ask(t.Context(), s, "slow")}
		synctest.Wait()
		assert.Equal(t, 3, s.Stats().Queued, "a request that is being encoded has a place")
		r := <-ask(t.Context(), s, "c")
		assert.ErrorIs(t, r.err, serve.ErrFull)
		assert.EqualError(t, r.err, "serve: the queue is full: 3 requests wait already; ask again later, or raise Options.MaxQueue "+
			"if memory and patience allow")
		assert.Zero(t, r.after)
		close(slow)
		for i, a := range answers {
			assert.Equal(t, []string{"A", "B", "SLOW"}[i], (<-a).label)
		}
		assert.NoError(t, (<-ask(t.Context(), s, "c")).err, "there is room again")
		assert.Equal(t, 1, s.Stats().Refused)
	})
}

func TestCancelledRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan time.Time, 1)
		f := &fake{before: func(ctx context.Context, batch []string) error {
			if batch[0] == "endless" {
				<-ctx.Done()
				ended <- time.Now()
				return ctx.Err()
			}
			return nil
		}}
		s := hold(t, f, serve.Options{})
		ctx, cancel := context.WithCancel(t.Context())
		gone, stays := ask(ctx, s, "gone"), ask(t.Context(), s, "stays")
		synctest.Wait()
		cancel()
		r := <-gone
		assert.ErrorIs(t, r.err, context.Canceled)
		assert.Zero(t, r.after)
		assert.Equal(t, 1, s.Stats().Queued, "who is gone has no place")
		assert.Equal(t, "STAYS", (<-stays).label)
		assert.Equal(t, [][]string{{"first"}, {"stays"}}, f.seen(), "it is not computed")

		assert.ErrorIs(t, (<-ask(ctx, s, "too late")).err, context.Canceled)
		assert.Len(t, f.seen(), 2)

		// In flight: the caller leaves at once, and the model is told when the last one did.
		ask(t.Context(), s, "meanwhile both come")
		synctest.Wait()
		began := time.Now()
		var deadlines []<-chan result
		for i := range 2 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i+5)*time.Minute)
			defer cancel()
			deadlines = append(deadlines, ask(ctx, s, "endless"))
		}
		for i, d := range deadlines {
			r := <-d
			assert.ErrorIs(t, r.err, context.DeadlineExceeded)
			assert.Equal(t, time.Duration(i+5)*time.Minute, r.after)
		}
		assert.Equal(t, 6*time.Minute, (<-ended).Sub(began))
		assert.Equal(t, "NEXT", (<-ask(t.Context(), s, "next")).label, "the server lives on")
		assert.Equal(t, 3, s.Stats().Cancelled)
	})
}

func TestAPanicIsTheErrorOfItsBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failure := errors.New("index out of range")
		f := &fake{before: func(_ context.Context, batch []string) error {
			if batch[0] == "first" {
				return nil
			}
			panic(failure)
		}, encode: func(input string) (string, error) {
			if input == "malformed" {
				panic("no text")
			}
			return input, nil
		}}
		s := hold(t, f, serve.Options{})
		a, b := ask(t.Context(), s, "a"), ask(t.Context(), s, "b")
		synctest.Wait()
		for _, r := range []result{<-a, <-b} {
			assert.ErrorIs(t, r.err, failure)
			assert.ErrorContains(t, r.err, "serve: the model panicked: index out of range\n\ngoroutine ")
			assert.ErrorContains(t, r.err, "(*fake).PredictEncoded", "with its stack")
		}
		assert.Len(t, f.seen(), 2, "it is not tried again")
		f.now(nil)
		assert.Equal(t, "C", (<-ask(t.Context(), s, "c")).label, "the server lives on")

		r := <-ask(t.Context(), s, "malformed")
		p, ok := errors.AsType[*serve.PanicError](r.err)
		require.True(t, ok, r.err)
		assert.Equal(t, "no text", p.Value)
		assert.Zero(t, s.Stats().Queued)
	})
}

func TestAnErrorIsThatOfItsRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{before: func(_ context.Context, batch []string) error {
			if strings.Contains(strings.Join(batch, " "), "bad") {
				return errDamaged
			}
			return nil
		}}
		s := hold(t, f, serve.Options{})
		inputs := []string{"a", "bad", "c", "d", "e", "f"}
		var answers []<-chan result
		for _, input := range inputs {
			answers = append(answers, ask(t.Context(), s, input))
			synctest.Wait()
		}
		for i, a := range answers {
			r := <-a
			if inputs[i] == "bad" {
				assert.Equal(t, errDamaged, r.err)
				continue
			}
			assert.Equal(t, strings.ToUpper(inputs[i]), r.label)
		}
		assert.Equal(t, 1, s.Stats().Failed)
	})
}

func TestErrorsOfAModel(t *testing.T) {
	s := start(t, &fake{encode: func(string) (string, error) { return "", errDamaged }}, serve.Options{})
	_, err := s.Predict(t.Context(), "x")
	assert.Equal(t, &serve.InputError{Err: errDamaged}, err)
	assert.EqualError(t, err, errDamaged.Error())
	assert.ErrorIs(t, err, errDamaged)
	assert.Zero(t, s.Stats().Queued)
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := hold(t, &fake{}, serve.Options{MaxBatch: 1})
		a, b := ask(t.Context(), s, "a"), ask(t.Context(), s, "b")
		synctest.Wait()
		began := time.Now()
		go s.Close()
		synctest.Wait()
		r := <-ask(t.Context(), s, "c")
		assert.ErrorIs(t, r.err, serve.ErrClosed)
		assert.Zero(t, r.after)
		s.Close()
		assert.Equal(t, 3*time.Second, time.Since(began), "all that waited is computed first")
		assert.Equal(t, "A", (<-a).label)
		assert.Equal(t, "B", (<-b).label)
		s.Close()
		assert.NoError(t, s.Shutdown(t.Context()))
	})
}

func TestShutdownInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := hold(t, &fake{}, serve.Options{MaxBatch: 1})
		a := ask(t.Context(), s, "a")
		synctest.Wait()
		b := ask(t.Context(), s, "b")
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		began := time.Now()
		assert.ErrorIs(t, s.Shutdown(ctx), context.DeadlineExceeded)
		assert.Equal(t, 2*time.Second, time.Since(began), "the batch that is being computed is waited for")
		assert.Equal(t, "A", (<-a).label)
		r := <-b
		assert.ErrorIs(t, r.err, serve.ErrClosed)
		assert.Equal(t, 1500*time.Millisecond, r.after)
	})
}

func TestPredictAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{takes: time.Millisecond}
		s := start(t, f, serve.Options{MaxBatch: 4, MaxQueue: 8})
		inputs := make([]string, 100)
		for i := range inputs {
			inputs[i] = fmt.Sprintf("text %d", i)
		}
		got, err := s.PredictAll(t.Context(), inputs)
		require.NoError(t, err, "more inputs than the queue has places are no error")
		for i, p := range got {
			assert.Equal(t, strings.ToUpper(inputs[i]), p.Label)
		}
		got, err = s.PredictAll(t.Context(), nil)
		assert.NoError(t, err)
		assert.Empty(t, got)

		computed := atomic.Int32{}
		f.now(func(_ context.Context, batch []string) error {
			computed.Add(1)
			if strings.Contains(strings.Join(batch, ","), "text 17") {
				return errDamaged
			}
			return nil
		})
		_, err = s.PredictAll(t.Context(), inputs)
		assert.EqualError(t, err, "input 17: the weights are damaged")
		assert.ErrorIs(t, err, errDamaged)
		assert.Less(t, computed.Load(), int32(20), "the first error ends it")

		f.now(nil)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Millisecond)
		defer cancel()
		_, err = s.PredictAll(ctx, inputs)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		synctest.Wait()
		assert.Zero(t, s.Stats().Queued)
	})
}

func TestOptions(t *testing.T) {
	_, err := serve.Start(&fake{}, serve.Options{MaxBatch: -1, MaxTokens: -2, MaxQueue: -3})
	assert.EqualError(t, err, "serve: Options: MaxBatch must be 1 or more, found -1\n"+
		"MaxTokens must be 0 or more, found -2\nMaxQueue must be 1 or more, found -3")
}
