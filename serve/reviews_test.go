package serve_test

import (
	"context"
	"errors"
	"math"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/serve"
	"github.com/thaw-ml/thaw/text"
	"github.com/thaw-ml/thaw/torch"
)

// reviews loads the demo's model with a new head, and n of its texts. It skips the test where make reviews was not run.
func reviews(t testing.TB, n int) (*text.Classifier, []text.Item) {
	t.Helper()
	raw, err := os.ReadFile("../examples/reviews/reviews.tsv")
	if os.IsNotExist(err) {
		t.Skip("make reviews brings the model and its texts")
	}
	require.NoError(t, err)
	head := text.NewHead("negative", "positive")
	head.Pooling, head.Seed = text.Mean, 1
	c, err := text.LoadClassifier("../examples/reviews/data/model", "", head)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	var items []text.Item
	for line := range strings.Lines(string(raw)) {
		snippet, _, _ := strings.Cut(line, "\t")
		items = append(items, text.Item{Text: snippet})
	}
	items = items[1:] // the header
	// Every k-th, as the file has the positive ones first.
	for i := range n {
		items[i] = items[i*(len(items)/n)]
	}
	return c, items[:n]
}

func serveTexts(t testing.TB, c *text.Classifier, o serve.Options) *serve.Server[text.Item, text.Encoded] {
	t.Helper()
	s, err := serve.Start(c, o)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s
}

func TestTextsAreServedAsPredictPredictsThem(t *testing.T) {
	c, items := reviews(t, 40)
	want, err := c.Predict(t.Context(), items, finetune.PredictOptions{})
	require.NoError(t, err)
	s := serveTexts(t, c, serve.Options{})
	_, err = s.Predict(t.Context(), items[0]) // from now on the classifier keeps packed weights
	require.NoError(t, err)
	before := torch.Stats().Tensors
	var callers sync.WaitGroup
	for i, item := range items {
		callers.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if i%4 == 3 {
				time.AfterFunc(time.Duration(i)*time.Millisecond, cancel)
			}
			p, err := s.Predict(ctx, item)
			if i%4 == 3 && errors.Is(err, context.Canceled) {
				return
			}
			if assert.NoError(t, err) {
				assert.Equal(t, want[i].Label, p.Label)
				assert.InDeltaSlice(t, want[i].Logits, p.Logits, 1e-4, "batches differ, and so does the order of sums")
			}
		})
	}
	callers.Wait()
	s.Close()
	assert.Equal(t, before, torch.Stats().Tensors)
	assert.Zero(t, s.Stats().Queued)
	assert.Less(t, s.Stats().Batches, len(items))
	for range 100 { // goroutines of the runtime and of AfterFunc end by themselves
		if runtime.NumGoroutine() < 10 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	assert.Less(t, runtime.NumGoroutine(), 10)
}

func TestATextThatTheModelCannotRead(t *testing.T) {
	c, items := reviews(t, 2)
	single := false
	c.Config.Pairs = &single
	s := serveTexts(t, c, serve.Options{})
	_, err := s.Predict(t.Context(), text.Item{Text: "a", Pair: "b"})
	assert.ErrorContains(t, err, `"a" has a second text`)
	_, err = s.PredictAll(t.Context(), append(items, text.Item{Text: "a", Pair: "b"}))
	assert.ErrorContains(t, err, `input 2: "a" has a second text`)
	_, err = s.PredictAll(t.Context(), items)
	assert.NoError(t, err)
}

func TestDamagedWeights(t *testing.T) {
	c, items := reviews(t, 2)
	torch.NoGrad(func() { c.Linear.Bias.Fill_(math.NaN()) })
	s := serveTexts(t, c, serve.Options{})
	_, err := s.PredictAll(t.Context(), items)
	assert.ErrorContains(t, err, "the model gives scores that are no finite numbers")
	assert.Equal(t, 0, s.Stats().Queued)
}
