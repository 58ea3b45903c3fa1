package finetune

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
)

// Runs that are started at the same time take turns, and each is what it is by itself: the random generators of
// libtorch belong to the process.
func TestConcurrentFitsEqualSerialOnes(t *testing.T) {
	type outcome struct {
		losses  []float64
		weights map[string][]byte
	}
	fit := func(seed uint64, model *net, during func()) (out outcome) {
		o := quick(t, Phase{Train: All(), Epochs: 3, LR: 1e-2})
		o.Seed = seed
		seen := &events{on: func(e Event) error {
			if _, ok := e.(train.StepDone); ok {
				during()
			}
			return nil
		}}
		o.OnEvent = seen.add
		_, err := Fit[*rows](t.Context(), model, newSamples(1, 40, mixed), newSamples(2, 10, mixed), o)
		assert.NoError(t, err)
		return outcome{seen.losses(), model.bytes()}
	}
	const runs = 4
	models := make([]*net, 2*runs)
	for i := range models {
		models[i] = newNet(t)
	}
	want := make([]outcome, runs)
	for i := range want {
		want[i] = fit(uint64(i), models[i], func() {})
	}
	assert.NotEqual(t, want[0], want[1])

	got := make([]outcome, runs)
	var all sync.WaitGroup
	var turns []int // the run of each step
	var mutex sync.Mutex
	for i := range got {
		all.Go(func() {
			got[i] = fit(uint64(i), models[runs+i], func() {
				mutex.Lock()
				turns = append(turns, i)
				mutex.Unlock()
				runtime.Gosched()
			})
		})
	}
	all.Wait()
	assert.Equal(t, want, got)
	assert.Len(t, slices.Compact(turns), runs, "each trains to its end before the next begins")
}

// A run that is begun in a callback of another would wait for its own caller: it is an error.
func TestAFitWithinAFitIsRefused(t *testing.T) {
	tried := map[string]error{}
	inner := func() error {
		o := quick(t, Phase{Epochs: 1})
		o.Folder = nil
		_, err := Fit[*rows](t.Context(), newNet(t), newSamples(1, 8, mixed), nil, o)
		return err
	}
	seen := &events{on: func(e Event) error {
		if name := fmt.Sprintf("%T", e); tried[name] == nil {
			tried[name] = inner()
			_, err := Measure[*rows](t.Context(), newNet(t), newSamples(1, 8, mixed), quick(t, Phase{}), Effort{Rounds: 1})
			assert.ErrorContains(t, err, "take turns")
		}
		return nil
	}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		o := quick(t, Phase{Train: Top(1), Epochs: 1, LR: 1e-2})
		o.OnEvent = seen.add
		_, err := Fit[*rows](t.Context(), newNet(t), newSamples(1, 24, mixed), newSamples(2, 10, mixed), o)
		assert.NoError(t, err, "the outer run goes on")
	}()
	select {
	case <-done:
	case <-time.After(2 * time.Minute):
		require.Fail(t, "the runs wait for each other")
	}
	// "Saved" of the last weights comes when the turn is over.
	require.NotEmpty(t, tried)
	for name, err := range tried {
		assert.ErrorContains(t, err, "take turns", name)
	}
	assert.NoError(t, inner(), "and by itself it runs")
}

// An Inference may be used from many goroutines, also while it is moved.
func TestInferenceFromManyGoroutines(t *testing.T) {
	model, set := newNet(t), newSamples(3, 23, mixed)
	n, err := NewInference[*rows](model, "cpu", "float32")
	require.NoError(t, err)
	want := outputs(t, n, set, 7)
	score, err := n.Evaluate(t.Context(), set, 7)
	require.NoError(t, err)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			mine := newSamples(3, 23, mixed)
			for range 5 {
				if i%2 == 0 {
					assert.Equal(t, want, outputs(t, n, mine, 7))
					continue
				}
				got, err := n.Evaluate(t.Context(), mine, 7)
				assert.NoError(t, err)
				assert.Equal(t, score, got)
			}
		})
	}
	all.Go(func() {
		for range 5 {
			assert.NoError(t, n.Move("cpu", "float32"))
			assert.Equal(t, torch.CPU, n.Device())
		}
	})
	all.Wait()
	require.NoError(t, n.Close())
	require.NoError(t, n.Close(), "closing again changes nothing")
	err = n.Outputs(t.Context(), set, sortedBatches(set, 7), func(*rows, nn.Values) error { return nil })
	assert.ErrorContains(t, err, "closed")
	_, err = n.Evaluate(t.Context(), set, 7)
	assert.ErrorContains(t, err, "closed")
	assert.Error(t, n.Move("cpu", "float32"), "and it stays closed")
}
