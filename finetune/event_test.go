package finetune

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/finetune/train/metric"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
)

// moment is an event of a run, at which something is to happen.
type moment struct {
	name  string
	graph bool // on a backend that captures graphs
	is    func(Event) bool
}

// of is the moment of a type's event for which also holds.
func of[T Event](name string, holds func(T) bool) moment {
	return moment{name: name, is: func(e Event) bool {
		t, ok := e.(T)
		return ok && (holds == nil || holds(t))
	}}
}

// moments are events of every type.
func moments() []moment {
	all := []moment{
		of("the first phase is planned", func(p Planned) bool { return p.Phase == 1 }),
		of("the second phase is planned", func(p Planned) bool { return p.Phase == 2 }),
		of("the prefix begins", func(s train.TaskStarted) bool { return s.Task == prefixTask }),
		of("the baseline begins", func(s train.TaskStarted) bool { return s.Task == baselineTask }),
		of("an epoch begins", func(s train.TaskStarted) bool { return s.Task == epochTask(2) }),
		of("the prefix goes on", func(p train.Progress) bool { return p.Task == prefixTask && p.Samples > 8 }),
		of("the test samples of the prefix", func(p train.Progress) bool { return p.Task == prefixTask && p.Samples > 24 }),
		of("the baseline goes on", func(p train.Progress) bool { return p.Task == baselineTask }),
		of("the first step", func(s train.StepDone) bool { return s.Step == 1 }),
		of("a later step", func(s train.StepDone) bool { return s.Epoch == 3 }),
		of("the prefix ends", func(d train.TaskDone) bool { return d.Task == prefixTask }),
		of("the baseline ends", func(d train.TaskDone) bool { return d.Task == baselineTask }),
		of("an epoch's steps end", func(d train.TaskDone) bool { return d.Task == epochTask(1) }),
		of[train.GradientsChecked]("gradients", nil),
		of[EpochDone]("an epoch ends", nil),
		of("the last epoch ends", func(d EpochDone) bool { return d.Number == 3 }),
		of[FreezeChecked]("the freeze check", nil),
		of("the best weights are saved", func(s Saved) bool { return filepath.Base(s.Path) == "best.safetensors" }),
		of("the last weights are saved", func(s Saved) bool { return filepath.Base(s.Path) == "last.safetensors" }),
	}
	onGraphs := []moment{of[train.GraphsCaptured]("graphs", nil), of[train.Warning]("a warning", nil)}
	for i := range onGraphs {
		onGraphs[i].graph = true
	}
	return append(all, onGraphs...)
}

// fitUntil is a run of two phases whose OnEvent gives an error at a moment; what follows that is counted.
func fitUntil(t *testing.T, m moment, failure error) (o Options, model *net, seen *events, result *Result, after int, err error) {
	t.Helper()
	o = quick(t, Phase{Train: HeadOnly(), Epochs: 1, LR: 1e-2}, Phase{Train: Top(1), Epochs: 2, LR: 1e-2})
	model = newNet(t)
	reached := false
	seen = &events{on: func(e Event) error {
		if reached {
			after++
			return nil
		}
		if m.is(e) {
			reached = true
			return failure
		}
		return nil
	}}
	var on train.Backend = train.CPU{}
	if m.graph {
		on = &replayer{t: t}
		o.Phases = []Phase{{Train: Top(1), Epochs: 4, LR: 1e-2}}
		if m.is(train.Warning{}) {
			on.(*replayer).refuse = errors.New("no")
		}
	}
	result, err = fitAs(t, on, o, model, newSamples(1, 24, mixed), newSamples(2, 10, mixed), seen)
	require.True(t, reached, "the moment came: %s", m.name)
	return o, model, seen, result, after, err
}

// An error from OnEvent ends a run with that error, whatever the event, and leaves nothing behind; the model can be
// trained again.
func TestAnErrorFromOnEventEndsTheRun(t *testing.T) {
	types := map[reflect.Type]bool{}
	for _, m := range moments() {
		t.Run(m.name, func(t *testing.T) {
			enough := errors.New("enough")
			o, model, seen, result, after, err := fitUntil(t, m, enough)
			require.ErrorIs(t, err, enough)
			assert.Nil(t, result)
			assert.Zero(t, after, "nothing is told after that")
			types[reflect.TypeOf(seen.all[len(seen.all)-1])] = true
			if trained := len(eventsOf[EpochDone](seen)) > 0; trained {
				assertFailed(t, o, err)
			}
			_, err = start(t, quick(t, Phase{Epochs: 1}), model, newSamples(1, 24, mixed), newSamples(2, 10, mixed), nil)
			assert.NoError(t, err, "the model is as good as before")
		})
	}
	assert.Len(t, types, 11, "every type of event: %v", types)
}

// Stop ends a run as if its epochs were over: there is a result, and the last weights are those of the model.
func TestStopEndsARunEarly(t *testing.T) {
	for _, m := range moments() {
		t.Run(m.name, func(t *testing.T) {
			o, model, seen, result, after, err := fitUntil(t, m, fmt.Errorf("early stopping: %w", Stop))
			require.NoError(t, err)
			require.NotNil(t, result)
			assert.Equal(t, m.name != "the last weights are saved", result.Stopped, "at the last weights the epochs were over")
			for _, e := range seen.all[len(seen.all)-after:] {
				assert.IsType(t, Saved{}, e, "nothing but weights are saved after that")
			}
			assert.Equal(t, model.bytes(), weightsOf(t, o, "last"))
			assert.FileExists(t, filepath.Join(o.Folder.Path(), "summary.json"))
			assert.NoFileExists(t, filepath.Join(o.Folder.Path(), "error.txt"))
			assertNoRemains(t, o.Folder.Path())
			if n := len(result.Epochs); n > 0 {
				assert.Equal(t, n, result.Epochs[n-1].Number)
				assert.False(t, result.Last.IsZero())
			}
			if done := eventsOf[EpochDone](seen); len(done) > 0 {
				assert.FileExists(t, filepath.Join(o.Folder.Path(), "weights", "best.safetensors"))
			}
		})
	}
	// A run that nobody stops says so.
	result, err := start(t, quick(t, Phase{Epochs: 1}), newNet(t), newSamples(1, 24, mixed), newSamples(2, 10, mixed), nil)
	require.NoError(t, err)
	assert.False(t, result.Stopped)
}

// Early stopping: the epochs so far equal those of a run that is planned as long.
func TestEarlyStopping(t *testing.T) {
	phase := Phase{Train: Top(1), Epochs: 4, LR: 1e-2, Schedule: Constant, WarmUp: Off}
	model := newNet(t)
	seen := &events{on: func(e Event) error {
		if d, ok := e.(EpochDone); ok && d.Number == 2 {
			return Stop
		}
		return nil
	}}
	stopped, err := start(t, quick(t, phase), model, newSamples(1, 24, mixed), newSamples(2, 10, mixed), seen)
	require.NoError(t, err)
	assert.True(t, stopped.Stopped)

	phase.Epochs = 2
	short := newNet(t)
	whole, err := start(t, quick(t, phase), short, newSamples(1, 24, mixed), newSamples(2, 10, mixed), nil)
	require.NoError(t, err)
	assert.False(t, whole.Stopped)
	assert.Equal(t, short.bytes(), model.bytes())
	require.Len(t, stopped.Epochs, 2)
	for i := range stopped.Epochs {
		assert.Equal(t, whole.Epochs[i].TrainLoss, stopped.Epochs[i].TrainLoss)
		assert.Equal(t, whole.Epochs[i].Test, stopped.Epochs[i].Test)
	}
	assert.Equal(t, whole.Last, stopped.Last)
	assert.Equal(t, whole.BestEpoch, stopped.BestEpoch)
}

// The metric that chooses the best epoch can be named.
func TestBestByAnotherMetric(t *testing.T) {
	// Without training that is worth the name: the outputs of each epoch's evaluation are given. From epoch to epoch
	// accuracy rises, but so does the loss, as the one wrong answer becomes surer.
	outputs := [][]float32{{0.5, -0.5}, {0.1, -0.1}, {-0.1, 0.1}, {-9, 9}}
	fit := func(best string) (*Result, error) {
		model := newNet(t)
		evaluations := 0
		testSet := newSamples(2, 6, nil)
		for i := range testSet.labels {
			testSet.labels[i] = min(1, i) // one minus, five plus
		}
		model.measure = func(output nn.Values) nn.Values {
			row := outputs[min(evaluations, len(outputs)-1)]
			evaluations++
			all := []float32{}
			for range output[0].Size(0) {
				all = append(all, row...)
			}
			return nn.Values{torch.FromSlice(all, output[0].Size(0), 2)}
		}
		o := quick(t, Phase{Train: HeadOnly(), Epochs: 3, LR: 1e-3})
		o.Best = best
		return start(t, o, model, newSamples(1, 24, nil), testSet, nil)
	}
	for best, want := range map[string]int{"": 2, "accuracy": 2, "macro_f1": 2, "loss": 2} {
		result, err := fit(best)
		require.NoError(t, err)
		assert.Equal(t, want, result.BestEpoch, "by %q", best)
	}
	outputs = [][]float32{{0, 0}, {-0.1, 0.1}, {-1, 1}, {-9, 9}} // as right, and surer: the loss is lowest in the second
	for best, want := range map[string]int{"": 1, "accuracy": 1, "loss": 2} {
		result, err := fit(best)
		require.NoError(t, err)
		assert.Equal(t, want, result.BestEpoch, "by %q", best)
		assert.Equal(t, result.Epochs[want-1].Test, result.Best.WithoutClasses())
	}
	_, err := fit("f1")
	for _, part := range []string{"f1", "loss", "accuracy", "macro_f1"} {
		assert.ErrorContains(t, err, part, "the error lists what there is")
	}
}

// Events are lines for a log.
func TestEventsAreLines(t *testing.T) {
	for _, e := range []Event{
		Planned{1, 2, &Plan{}}, EpochDone{Epoch: Epoch{Number: 3}}, EpochDone{Best: true}, FreezeChecked{1}, Saved{"x"}, Resumed{Path: "x"},
		train.TaskStarted{}, train.Progress{}, train.StepDone{}, train.TaskDone{}, train.TaskDone{Score: &metric.Score{}},
		train.GradientsChecked{}, train.GraphsCaptured{}, train.Warning{},
	} {
		assert.NotEmpty(t, e.String(), "%T", e)
	}
}

// A run without a folder writes nothing, wherever it is started.
func TestFitWithoutAFolderWritesNothing(t *testing.T) {
	here := t.TempDir()
	t.Chdir(here)
	o := quick(t, Phase{Train: Top(1), Epochs: 2, LR: 1e-2})
	o.Folder = nil
	var seen events
	result, err := start(t, o, newNet(t), newSamples(1, 24, mixed), newSamples(2, 10, mixed), &seen)
	require.NoError(t, err)
	assert.Empty(t, result.Folder)
	assert.Empty(t, eventsOf[Saved](&seen))
	assert.Len(t, result.Epochs, 2)
	assert.Positive(t, result.BestEpoch)
	entries, err := os.ReadDir(here)
	require.NoError(t, err)
	assert.Empty(t, entries)

	o.OnEvent = func(Event) error { return errors.New("enough") }
	_, err = start(t, o, newNet(t), newSamples(1, 24, mixed), newSamples(2, 10, mixed), nil)
	require.Error(t, err)
	entries, err = os.ReadDir(here)
	require.NoError(t, err)
	assert.Empty(t, entries)
}
