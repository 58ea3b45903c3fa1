package finetune

import (
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/finetune/train/metric"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
)

// replayer is the CPU in the part of a GPU: its steps are those of graphs, and what it captures it replays by running
// it again. It checks the order of what it is told.
type replayer struct {
	train.CPU
	refuse           error  // of Capture
	onCapture        func() // called by Capture
	after            func() // called after each replay
	captured, played int    // graphs, and replays of them
	open             int    // graphs that were not closed
	playing          bool   // a graph runs
	copied           bool   // something was prefetched and not yet taken
	t                testing.TB
}

func (r *replayer) Asynchronous() bool { return true }

func (r *replayer) Prefetch(f func()) error {
	assert.False(r.t, r.copied, "what was prefetched was not taken")
	r.copied = true
	f()
	return nil
}

func (r *replayer) StagingFree() error {
	assert.True(r.t, r.copied)
	r.copied = false
	return nil
}

func (r *replayer) Capture(f func()) (train.Graph, error) {
	if r.onCapture != nil {
		r.onCapture()
	}
	if r.refuse != nil {
		return nil, r.refuse
	}
	r.captured++
	r.open++
	return replayed{r, f}, nil
}

type replayed struct {
	*replayer
	f func()
}

func (p replayed) Replay() error {
	p.played++
	p.playing = true
	torch.Scoped(p.f)
	p.playing = false
	if p.after != nil {
		p.after()
	}
	return nil
}

func (p replayed) Close() { p.open-- }

// outcome is what is compared between runs.
type outcome struct {
	before, last metric.Score
	weights      map[string][]byte
	seen         *events
	backend      *replayer
}

func (o outcome) warned() bool { return len(eventsOf[train.Warning](o.seen)) > 0 }

// fitAs is a Fit on a backend, whose model must be at rest at the end.
func fitAs(t *testing.T, on train.Backend, o Options, model *net, trainSet, testSet *samples, seen *events) (*Result, error) {
	t.Helper()
	o, err := o.resolved()
	require.NoError(t, err)
	_, precision, err := train.ChooseDevice("cpu", o.Precision)
	require.NoError(t, err)
	if seen != nil {
		o.OnEvent = seen.add
	}
	before := torch.Stats()
	result, err := fitOn[*rows](t.Context(), on, precision, model, trainSet, orNil(testSet), o)
	requireAtRest(t, model, before)
	return result, err
}

// runAs is a Fit of a new net on a backend; nil stands for the CPU itself.
func runAs(t *testing.T, m *replayer, o Options, trainSet, testSet *samples) outcome {
	t.Helper()
	model := newNet(t)
	var seen events
	var on train.Backend = train.CPU{}
	if m != nil {
		m.t, on = t, m
	}
	result, err := fitAs(t, on, o, model, trainSet, testSet, &seen)
	require.NoError(t, err)
	if m != nil {
		require.Zero(t, m.open, "graphs that were not closed")
	}
	return outcome{result.Before, result.Last, model.bytes(), &seen, m}
}

// Steps that are replayed do what they do operator by operator, bit for bit: with and without a cache of the frozen
// stages, dropout, moving buffers and clipping, and whatever the optimiser.
func TestGraphsAreTheSteps(t *testing.T) {
	for _, name := range []string{"adamw", "sgd"} {
		for _, selection := range []Selection{All(), HeadOnly(), Top(2), {"stage.1"}} {
			for _, noCache := range []bool{false, true} {
				for _, lengths := range []func(int) int{mixed, distinct, nil} {
					t.Run(fmt.Sprint(name, selection, noCache, lengths != nil), func(t *testing.T) {
						run := func(noGraphs bool) outcome {
							o := quick(t, Phase{Train: selection, Epochs: 4, LR: 1e-2})
							o.NoGraphs, o.NoCache, o.Deterministic, o.Optimizer.Name = noGraphs, noCache, true, name
							return runAs(t, &replayer{}, o, newSamples(1, 45, lengths), newSamples(2, 18, lengths))
						}
						eager, replayed := run(true), run(false)
						assert.Zero(t, eager.backend.captured)
						assert.NotZero(t, replayed.backend.captured)
						assert.Greater(t, replayed.backend.played, 10)
						assert.Equal(t, eager.last, replayed.last)
						assert.Equal(t, eager.weights, replayed.weights)
						assert.False(t, replayed.warned(), "%v", replayed.seen.all)
					})
				}
			}
		}
	}
}

// The steps of graphs are those of the CPU but for learning rates in float32.
func TestGraphsTrainAsTheCPU(t *testing.T) {
	for _, selection := range []Selection{All(), Top(1)} {
		o := quick(t, Phase{Train: selection, Epochs: 4, LR: 1e-2, LayerDecay: 0.9})
		plain := runAs(t, nil, o, newSamples(1, 60, nil), newSamples(2, 30, nil))
		o.Folder = NewFolder(o.Folder.Path() + "-2")
		graphed := runAs(t, &replayer{}, o, newSamples(1, 60, nil), newSamples(2, 30, nil))
		assert.Equal(t, plain.before, graphed.before)
		assert.InEpsilon(t, plain.last.Loss, graphed.last.Loss, 1e-5)
		assert.Equal(t, plain.last.Classes, graphed.last.Classes)
	}
}

// Copies of parameters in bfloat16, made anew in each step, are what autocast makes: runs differ by learning rates in
// float32 alone, and captured steps by nothing.
func TestGraphsInBFloat16TrainAsTheCPU(t *testing.T) {
	for _, selection := range []Selection{All(), Top(1), {"stage.1", "head"}} {
		for _, noCache := range []bool{false, true} {
			run := func(m *replayer, noGraphs bool) outcome {
				o := quick(t, Phase{Train: selection, Epochs: 4, LR: 1e-2})
				o.Precision, o.NoCache, o.NoGraphs, o.Deterministic = "bfloat16", noCache, noGraphs, true
				return runAs(t, m, o, newSamples(1, 60, nil), newSamples(2, 30, nil))
			}
			plain, eager, replayed := run(nil, true), run(&replayer{}, true), run(&replayer{}, false)
			assert.Equal(t, plain.before, eager.before)
			assert.InEpsilon(t, plain.last.Loss, eager.last.Loss, 1e-4, "%v", selection)
			assert.Equal(t, eager.weights, replayed.weights, "%v", selection)
			assert.False(t, replayed.warned(), "%v", replayed.seen.all)
		}
	}
}

// With buckets it learns what it learns without.
func TestGraphsLearn(t *testing.T) {
	o := quick(t, Phase{Train: Top(2), Epochs: 6, LR: 1e-2, HeadLR: 1e-2})
	got := runAs(t, &replayer{}, o, newSamples(1, 160, mixed), newSamples(2, 60, mixed))
	assert.Greater(t, got.last.Value("accuracy"), 0.85)
}

func TestStepsThatCannotBeCapturedRunAsTheyAre(t *testing.T) {
	options := func() Options { return quick(t, Phase{Train: All(), Epochs: 3, LR: 1e-2}) }
	trainSet, testSet := newSamples(1, 45, mixed), newSamples(2, 18, mixed)
	off := options()
	off.NoGraphs = true
	want := runAs(t, &replayer{}, off, trainSet, testSet)

	refused := runAs(t, &replayer{refuse: errors.New("graph capture: it asks for values")}, options(), trainSet, testSet)
	assert.Equal(t, want.weights, refused.weights)
	warnings := eventsOf[train.Warning](refused.seen)
	require.Len(t, warnings, 1, "once for each shape")
	assert.Equal(t, train.NotCaptured, warnings[0].Kind)
	assert.Contains(t, warnings[0].Text, "8 x 8")
	assert.Contains(t, warnings[0].Text, "graph capture: it asks for values")
	assert.Empty(t, refused.seen.captured())
	assert.Zero(t, refused.backend.played)

	m := &replayer{}
	broken := runAs(t, m, options(), trainSet, testSet)
	assert.Equal(t, want.weights, broken.weights, "and what can be is")
	require.NotZero(t, m.played)
}

// requireDiffer checks that a graph was told not to do what its step does.
func requireDiffer(t *testing.T, seen *events) {
	t.Helper()
	warnings := seen.warnings(train.NotCaptured)
	require.NotEmpty(t, warnings)
	for _, w := range warnings {
		require.Contains(t, w, "differs from them")
	}
	require.Empty(t, seen.captured())
}

// A graph that does something else than the step is found out and not used.
func TestGraphsThatDifferAreRefused(t *testing.T) {
	trainSet, testSet := newSamples(1, 45, mixed), newSamples(2, 18, mixed)
	for name, deterministic := range map[string]bool{"by little": true, "by much": false} {
		t.Run(name, func(t *testing.T) {
			off := quick(t, Phase{Train: All(), Epochs: 2, LR: 1e-2})
			off.NoGraphs = true
			want := runAs(t, &replayer{}, off, trainSet, testSet)

			o := quick(t, Phase{Train: All(), Epochs: 2, LR: 1e-2})
			o.Deterministic = deterministic
			model := newNet(t)
			m := &replayer{t: t}
			m.after = func() {
				torch.Scoped(func() {
					torch.NoGrad(func() {
						if deterministic {
							w := model.Head.Weight.Select(0, 0)
							w.Copy_(w.MulScalar(1 + 1e-6))
						} else {
							model.Head.Weight.MulScalar_(1.1)
						}
					})
				})
			}
			var seen events
			_, err := fitAs(t, m, o, model, trainSet, testSet, &seen)
			require.NoError(t, err)
			requireDiffer(t, &seen)
			assert.Equal(t, m.captured, m.played, "each graph is tried once")
			assert.Equal(t, want.weights, model.bytes())
		})
	}
}

// A graph in which the optimiser moves nothing is found out although the first step's learning rate is 0.
func TestGraphsAreCheckedAtFullRates(t *testing.T) {
	for _, name := range []string{"adamw", "sgd"} {
		for _, rate := range []float64{1e-2, 1e-3} {
			t.Run(fmt.Sprint(name, rate), func(t *testing.T) { checkedAtFullRates(t, name, rate) })
		}
	}
}

func checkedAtFullRates(t *testing.T, optimizer string, rate float64) {
	o := quick(t, Phase{Train: All(), Epochs: 2, LR: rate, WarmUp: 0.5})
	o.Optimizer.Name = optimizer
	model := newNet(t)
	still := map[string]torch.Tensor{} // all parameters before the step
	for key, p := range nn.Params(model) {
		still[key] = torch.NewParam(p.Clone)
		defer still[key].Close()
	}
	m := &replayer{t: t}
	m.onCapture = func() {
		torch.NoGrad(func() {
			for key, p := range nn.Params(model) {
				still[key].Copy_(p)
			}
		})
	}
	m.after = func() {
		torch.NoGrad(func() {
			for key, p := range nn.Params(model) {
				p.Copy_(still[key])
			}
		})
	}
	var seen events
	_, err := fitAs(t, m, o, model, newSamples(1, 45, mixed), newSamples(2, 18, mixed), &seen)
	require.NoError(t, err)
	requireDiffer(t, &seen)
	assert.Contains(t, seen.warnings(train.NotCaptured)[0], "its loss by 0.0e+00")
	assert.Equal(t, m.captured, m.played, "none is used")
}

// A graph that makes a parameter no number is found out, and no end of the run.
func TestGraphsThatGiveNaNAreRefused(t *testing.T) {
	for _, deterministic := range []bool{true, false} {
		o := quick(t, Phase{Train: All(), Epochs: 2, LR: 1e-2})
		o.Deterministic = deterministic
		model := newNet(t)
		m := &replayer{t: t}
		m.after = func() { torch.NoGrad(func() { model.Head.Weight.MulScalar_(math.NaN()) }) }
		var seen events
		_, err := fitAs(t, m, o, model, newSamples(1, 45, mixed), newSamples(2, 18, mixed), &seen)
		require.NoError(t, err)
		requireDiffer(t, &seen)
		assert.Equal(t, m.captured, m.played, "none is used")
	}
}

// What a capture that broke off half-way left in the gradients does not get into the next step.
func TestBrokenCapturesLeaveNoGradients(t *testing.T) {
	off := quick(t, Phase{Train: All(), Epochs: 2, LR: 1e-2})
	off.NoGraphs = true
	trainSet, testSet := newSamples(1, 45, mixed), newSamples(2, 18, mixed)
	want := runAs(t, &replayer{}, off, trainSet, testSet)

	o := quick(t, Phase{Train: All(), Epochs: 2, LR: 1e-2})
	model := newNet(t)
	m := &replayer{t: t, refuse: errors.New("it broke off"), onCapture: func() {
		torch.Scoped(func() { model.Head.Weight.SetGrad(model.Head.Weight.Detach().OnesLike()) })
	}}
	_, err := fitAs(t, m, o, model, trainSet, testSet, nil)
	require.NoError(t, err)
	assert.Equal(t, want.weights, model.bytes())
}

// Memory that runs short while a step is captured is no end of the run.
func TestGraphsThatPanicAreRefused(t *testing.T) {
	o := quick(t, Phase{Train: All(), Epochs: 2, LR: 1e-2})
	m := &replayer{t: t, onCapture: func() { panic(&torch.Error{Op: "empty", Kind: torch.OutOfMemory, Msg: "none"}) }}
	var seen events
	_, err := fitAs(t, m, o, newNet(t), newSamples(1, 45, mixed), newSamples(2, 18, mixed), &seen)
	require.NoError(t, err)
	warnings := seen.warnings(train.NotCaptured)
	require.NotEmpty(t, warnings)
	assert.Contains(t, warnings[0], "memory ran short")
}

// Where memory does not do for graphs and a step of another shape, or an evaluation, the graphs are given up.
func TestGraphsGiveWay(t *testing.T) {
	for what, evaluating := range map[string]bool{"steps": false, "evaluations": true} {
		t.Run(what, func(t *testing.T) {
			o := quick(t, Phase{Train: All(), Epochs: 3, LR: 1e-2})
			model, m := newNet(t), &replayer{t: t}
			short := func() {
				if m.open > 0 && !m.playing {
					panic(&torch.Error{Op: "gelu", Kind: torch.OutOfMemory, Msg: "CUDA out of memory"})
				}
			}
			if evaluating {
				model.measure = func(output nn.Values) nn.Values { short(); return output }
			} else {
				model.change = func(l torch.Tensor) torch.Tensor { short(); return l }
			}
			var seen events
			result, err := fitAs(t, m, o, model, newSamples(1, 45, nil), newSamples(2, 18, nil), &seen)
			require.NoError(t, err)
			assert.Len(t, result.Epochs, 3)
			assert.Equal(t, 1, m.captured)
			assert.Zero(t, m.open)
			assert.Len(t, seen.warnings(train.GraphsReleased), 1)
			assert.Len(t, eventsOf[train.Warning](&seen), 1)
		})
	}
}

// Memory that does not do for the steps themselves ends a run, with what takes less.
func TestFitWithoutRoomTellsWhatTakesLess(t *testing.T) {
	for _, m := range []train.Backend{train.CPU{}, &replayer{t: t}} {
		o := quick(t, Phase{Train: All(), Epochs: 1, LR: 1e-2})
		model := newNet(t)
		model.change = func(l torch.Tensor) torch.Tensor {
			if !l.RequiresGrad() {
				return l
			}
			panic(&torch.Error{Op: "gelu", Kind: torch.OutOfMemory, Msg: "CUDA out of memory"})
		}
		_, err := fitAs(t, m, o, model, newSamples(1, 45, nil), newSamples(2, 18, nil), nil)
		assert.ErrorIs(t, err, torch.ErrOutOfMemory)
		assert.ErrorContains(t, err, "epoch 1: step 1: gelu: CUDA out of memory; smaller batches (now 8 samples, in evaluation 16)")
	}
}

// A loss that is no number ends the run, although no step waits for it.
func TestGraphsStopAtNaN(t *testing.T) {
	for _, noGraphs := range []bool{false, true} {
		o := quick(t, Phase{Train: All(), Epochs: 2, LR: 1e-2})
		o.NoGraphs = noGraphs
		model := newNet(t)
		model.change = func(l torch.Tensor) torch.Tensor { return l.Log().SubScalar(1e30).Log() }
		_, err := fitAs(t, &replayer{t: t}, o, model, newSamples(1, 45, mixed), newSamples(2, 0, mixed), nil)
		assert.ErrorIs(t, err, train.ErrNotFinite)
		assert.ErrorContains(t, err, "epoch 1: step ")
	}
}
