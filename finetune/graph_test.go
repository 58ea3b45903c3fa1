package finetune

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
)

// replayer is the CPU in the part of a GPU: batches go over its conveyor, and what it records it replays by running it
// again. It checks the order of what it is told.
type replayer struct {
	host
	refuse           error  // of capture
	onCapture        func() // called by capture
	after            func() // called after each replay
	captured, played int    // recordings, and replays of them
	open             int    // recordings that were not closed
	playing          bool   // a recording runs
	copied           bool   // something was copied ahead and not yet taken
	t                testing.TB
}

func (r *replayer) copyAhead(f func()) error {
	assert.False(r.t, r.copied, "what was copied ahead was not taken")
	r.copied = true
	f()
	return nil
}

func (r *replayer) taken() error {
	assert.True(r.t, r.copied)
	r.copied = false
	return nil
}

func (r *replayer) capture(f func()) (recording, error) {
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

func (p replayed) replay() error {
	p.played++
	p.playing = true
	torch.Scoped(p.f)
	p.playing = false
	if p.after != nil {
		p.after()
	}
	return nil
}

func (p replayed) close() { p.open-- }

// outcome is what is compared between runs.
type outcome struct {
	before, last Metrics
	weights      map[string][]byte
	notes        string
	machine      *replayer
}

// runAs runs a spec on a machine; nil stands for the CPU itself.
func runAs(t *testing.T, m *replayer, spec Spec, train, test *samples) outcome {
	t.Helper()
	model := newNet(t)
	before := torch.Stats()
	var report record
	var on machine = host{}
	if m != nil {
		m.t, on = t, m
	}
	spec, err := spec.Resolved()
	require.NoError(t, err)
	result, err := runOn(t.Context(), on, spec, model, train, test, &report)
	require.NoError(t, err)
	after := torch.Stats()
	require.Equal(t, before.Tensors+before.Collected, after.Tensors+after.Collected, "live tensors after the run")
	return outcome{result.Before, result.Last, model.bytes(), strings.Join(report.lines, "\n"), m}
}

// Steps that are replayed do what they do operator by operator, bit for bit: with and without a cache of the frozen
// stages, dropout, moving buffers and clipping, and whatever the optimiser.
func TestReplayedStepsAreTheSteps(t *testing.T) {
	for _, name := range []string{"adamw", "sgd"} {
		for _, selection := range []Selection{All(), HeadOnly(), Top(2), {"stage.1"}} {
			for _, cache := range []string{"auto", "off"} {
				for _, lengths := range []func(int) int{mixed, distinct, nil} {
					t.Run(fmt.Sprint(name, selection, cache, lengths != nil), func(t *testing.T) {
						run := func(graph string) outcome {
							spec := quick(t, Phase{Train: selection, Epochs: 4, LR: 1e-2})
							spec.Graph, spec.Cache, spec.Deterministic, spec.Optimizer.Name = graph, cache, true, name
							return runAs(t, &replayer{}, spec, newSamples(1, 45, lengths), newSamples(2, 18, lengths))
						}
						eager, replayed := run("off"), run("auto")
						assert.Zero(t, eager.machine.captured)
						assert.NotZero(t, replayed.machine.captured)
						assert.Greater(t, replayed.machine.played, 10)
						assert.Equal(t, eager.last, replayed.last)
						assert.Equal(t, eager.weights, replayed.weights)
						assert.NotContains(t, replayed.notes, "warning")
					})
				}
			}
		}
	}
}

// The conveyor's steps are those of the CPU but for learning rates in float32.
func TestConveyorTrainsAsTheCPU(t *testing.T) {
	for _, selection := range []Selection{All(), Top(1)} {
		spec := quick(t, Phase{Train: selection, Epochs: 4, LR: 1e-2, LayerDecay: 0.9})
		plain := runAs(t, nil, spec, newSamples(1, 60, nil), newSamples(2, 30, nil))
		spec.Out += "-2"
		conveyed := runAs(t, &replayer{}, spec, newSamples(1, 60, nil), newSamples(2, 30, nil))
		assert.Equal(t, plain.before, conveyed.before)
		assert.InEpsilon(t, plain.last.Loss, conveyed.last.Loss, 1e-5)
		assert.Equal(t, plain.last.Confusion, conveyed.last.Confusion)
	}
}

// Copies of parameters in bfloat16, made anew in each step, are what autocast makes: runs differ by learning rates in float32
// alone, and recorded steps by nothing.
func TestConveyorInBFloat16TrainsAsTheCPU(t *testing.T) {
	for _, selection := range []Selection{All(), Top(1), {"stage.1", "head"}} {
		for _, cache := range []string{"auto", "off"} {
			run := func(m *replayer, graph string) outcome {
				spec := quick(t, Phase{Train: selection, Epochs: 4, LR: 1e-2})
				spec.Precision, spec.Cache, spec.Graph, spec.Deterministic = "bfloat16", cache, graph, true
				return runAs(t, m, spec, newSamples(1, 60, nil), newSamples(2, 30, nil))
			}
			plain, eager, replayed := run(nil, "off"), run(&replayer{}, "off"), run(&replayer{}, "auto")
			assert.Equal(t, plain.before, eager.before)
			assert.InEpsilon(t, plain.last.Loss, eager.last.Loss, 1e-4, "%v", selection)
			assert.Equal(t, eager.weights, replayed.weights, "%v", selection)
			assert.NotContains(t, replayed.notes, "warning")
		}
	}
}

// With buckets it learns what it learns without.
func TestConveyorLearns(t *testing.T) {
	spec := quick(t, Phase{Train: Top(2), Epochs: 6, LR: 1e-2, HeadLR: 1e-2})
	o := runAs(t, &replayer{}, spec, newSamples(1, 160, mixed), newSamples(2, 60, mixed))
	assert.Greater(t, o.last.Accuracy, 0.85)
}

func TestStepsThatCannotBeRecordedRunAsTheyAre(t *testing.T) {
	spec := func() Spec { return quick(t, Phase{Train: All(), Epochs: 3, LR: 1e-2}) }
	train, test := newSamples(1, 45, mixed), newSamples(2, 18, mixed)
	off := spec()
	off.Graph = "off"
	want := runAs(t, &replayer{}, off, train, test)

	refused := runAs(t, &replayer{refuse: errors.New("graph capture: it asks for values")}, spec(), train, test)
	assert.Equal(t, want.weights, refused.weights)
	assert.Contains(t, refused.notes, "warning steps of 8 x 8 run operator by operator, which is slower: graph capture: it asks for values")
	assert.Equal(t, 1, strings.Count(refused.notes, "warning"), "once for each shape: %s", refused.notes)
	assert.Zero(t, refused.machine.played)

	m := &replayer{}
	broken := runAs(t, m, spec(), train, test)
	assert.Equal(t, want.weights, broken.weights, "and what can be is")
	require.NotZero(t, m.played)
}

// A recording that does something else than the step is found out and not used.
func TestRecordingsThatDifferAreRefused(t *testing.T) {
	train, test := newSamples(1, 45, mixed), newSamples(2, 18, mixed)
	for name, deterministic := range map[string]bool{"by little": true, "by much": false} {
		t.Run(name, func(t *testing.T) {
			off := quick(t, Phase{Train: All(), Epochs: 2, LR: 1e-2})
			off.Graph = "off"
			want := runAs(t, &replayer{}, off, train, test)

			spec := quick(t, Phase{Train: All(), Epochs: 2, LR: 1e-2})
			spec.Deterministic = deterministic
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
			spec, err := spec.Resolved()
			require.NoError(t, err)
			var report record
			_, err = runOn(t.Context(), m, spec, model, train, test, &report)
			require.NoError(t, err)
			notes := strings.Join(report.lines, "\n")
			assert.Contains(t, notes, "the recorded step differs from them")
			assert.Equal(t, m.captured, m.played, "each recording is tried once")
			assert.Equal(t, want.weights, model.bytes())
		})
	}
}

// A recording in which the optimiser moves nothing is found out although the first step's learning rate is 0.
func TestRecordingsAreCheckedAtFullRates(t *testing.T) {
	for _, name := range []string{"adamw", "sgd"} {
		for _, rate := range []float64{1e-2, 1e-3} {
			t.Run(fmt.Sprint(name, rate), func(t *testing.T) { checkedAtFullRates(t, name, rate) })
		}
	}
}

func checkedAtFullRates(t *testing.T, optimizer string, rate float64) {
	spec := quick(t, Phase{Train: All(), Epochs: 2, LR: rate, WarmUp: new(0.5)})
	spec.Optimizer.Name = optimizer
	spec, err := spec.Resolved()
	require.NoError(t, err)
	model := newNet(t)
	still := map[string]torch.Tensor{} // all parameters before the step
	drop := func() {
		for _, s := range still {
			s.Close()
		}
	}
	defer drop()
	m := &replayer{t: t}
	m.onCapture = func() {
		drop()
		for key, p := range nn.Params(model) {
			torch.Scoped(func() { still[key] = torch.Keep(p.Detach().Clone()) })
		}
	}
	m.after = func() {
		torch.NoGrad(func() {
			for key, p := range nn.Params(model) {
				p.Copy_(still[key])
			}
		})
	}
	var report record
	_, err = runOn(t.Context(), m, spec, model, newSamples(1, 45, mixed), newSamples(2, 18, mixed), &report)
	require.NoError(t, err)
	assert.Contains(t, strings.Join(report.lines, "\n"), "the recorded step differs from them (its loss by 0.0e+00, its move by ")
	assert.Equal(t, m.captured, m.played, "none is used")
}

// A recording that makes a parameter no number is found out, and no end of the run.
func TestRecordingsThatGiveNaNAreRefused(t *testing.T) {
	for _, deterministic := range []bool{true, false} {
		spec := quick(t, Phase{Train: All(), Epochs: 2, LR: 1e-2})
		spec.Deterministic = deterministic
		spec, err := spec.Resolved()
		require.NoError(t, err)
		model := newNet(t)
		m := &replayer{t: t}
		m.after = func() { torch.NoGrad(func() { model.Head.Weight.MulScalar_(math.NaN()) }) }
		var report record
		_, err = runOn(t.Context(), m, spec, model, newSamples(1, 45, mixed), newSamples(2, 18, mixed), &report)
		require.NoError(t, err)
		assert.Contains(t, strings.Join(report.lines, "\n"), "the recorded step differs from them")
		assert.Equal(t, m.captured, m.played, "none is used")
	}
}

// What a recording that broke off half-way left in the gradients does not get into the next step.
func TestBrokenRecordingsLeaveNoGradients(t *testing.T) {
	off := quick(t, Phase{Train: All(), Epochs: 2, LR: 1e-2})
	off.Graph = "off"
	train, test := newSamples(1, 45, mixed), newSamples(2, 18, mixed)
	want := runAs(t, &replayer{}, off, train, test)

	spec, err := quick(t, Phase{Train: All(), Epochs: 2, LR: 1e-2}).Resolved()
	require.NoError(t, err)
	model := newNet(t)
	m := &replayer{t: t, refuse: errors.New("it broke off"), onCapture: func() {
		torch.Scoped(func() { model.Head.Weight.SetGrad(model.Head.Weight.Detach().OnesLike()) })
	}}
	_, err = runOn(t.Context(), m, spec, model, train, test, silent{})
	require.NoError(t, err)
	assert.Equal(t, want.weights, model.bytes())
}

// Memory that runs short while a recording is tried is no end of the run.
func TestRecordingsThatPanicAreRefused(t *testing.T) {
	spec, err := quick(t, Phase{Train: All(), Epochs: 2, LR: 1e-2}).Resolved()
	require.NoError(t, err)
	m := &replayer{t: t, onCapture: func() { panic(&torch.Error{Op: "empty", Kind: torch.OutOfMemory, Msg: "none"}) }}
	var report record
	_, err = runOn(t.Context(), m, spec, newNet(t), newSamples(1, 45, mixed), newSamples(2, 18, mixed), &report)
	require.NoError(t, err)
	assert.Contains(t, strings.Join(report.lines, "\n"), "operator by operator, which is slower: memory ran short")
}

// Where memory does not do for recordings and a step of another shape, or an evaluation, the recordings are given up.
func TestRecordingsGiveWay(t *testing.T) {
	for what, evaluating := range map[string]bool{"steps": false, "evaluations": true} {
		t.Run(what, func(t *testing.T) {
			spec, err := quick(t, Phase{Train: All(), Epochs: 3, LR: 1e-2}).Resolved()
			require.NoError(t, err)
			model, m := newNet(t), &replayer{t: t}
			model.change = func(l torch.Tensor) torch.Tensor {
				if m.open > 0 && !m.playing && l.RequiresGrad() != evaluating {
					panic(&torch.Error{Op: "gelu", Kind: torch.OutOfMemory, Msg: "CUDA out of memory"})
				}
				return l
			}
			var report record
			result, err := runOn(t.Context(), m, spec, model, newSamples(1, 45, nil), newSamples(2, 18, nil), &report)
			require.NoError(t, err)
			assert.Len(t, result.Epochs, 3)
			assert.Equal(t, 1, m.captured)
			assert.Zero(t, m.open)
			told := strings.Join(report.lines, "\n")
			assert.Equal(t, 1, strings.Count(told, "warning memory ran short beside the recorded steps"), told)
		})
	}
}

// Memory that does not do for the steps themselves ends a run, with what takes less.
func TestRunsWithoutRoomTellWhatTakesLess(t *testing.T) {
	for _, m := range []machine{host{}, &replayer{t: t}} {
		spec, err := quick(t, Phase{Train: All(), Epochs: 1, LR: 1e-2}).Resolved()
		require.NoError(t, err)
		model := newNet(t)
		model.change = func(l torch.Tensor) torch.Tensor {
			if !l.RequiresGrad() {
				return l
			}
			panic(&torch.Error{Op: "gelu", Kind: torch.OutOfMemory, Msg: "CUDA out of memory"})
		}
		_, err = runOn(t.Context(), m, spec, model, newSamples(1, 45, nil), newSamples(2, 18, nil), silent{})
		assert.EqualError(t, err, "epoch 1: step 1: gelu: CUDA out of memory; a smaller batch.size (now 8; in evaluation batch.eval_size, 16), data.max_length (64), or fewer trained stages, take less")
	}
}

// A loss that is no number ends the run, although no step waits for it.
func TestConveyorStopsAtNaN(t *testing.T) {
	for _, graph := range []string{"auto", "off"} {
		spec := quick(t, Phase{Train: All(), Epochs: 2, LR: 1e-2})
		spec.Graph = graph
		spec, err := spec.Resolved()
		require.NoError(t, err)
		model := newNet(t)
		model.change = func(l torch.Tensor) torch.Tensor { return l.Log().SubScalar(1e30).Log() }
		_, err = runOn(t.Context(), &replayer{t: t}, spec, model, newSamples(1, 45, mixed), newSamples(2, 0, mixed), silent{})
		assert.ErrorIs(t, err, errNotFinite)
		assert.ErrorContains(t, err, "epoch 1: step ")
	}
}

func TestBuckets(t *testing.T) {
	assert.Nil(t, chooseBuckets(nil))
	assert.Nil(t, chooseBuckets([]int{5, 5, 5}), "nothing to pad")
	assert.Equal(t, []int{8}, chooseBuckets([]int{1, 8, 3}))
	assert.Equal(t, []int{8, 24}, chooseBuckets([]int{8, 7, 17, 1}))
	lengths := make([]int, 0, 1000)
	for i := range 1000 {
		lengths = append(lengths, 1+i*i%128)
	}
	buckets := chooseBuckets(lengths)
	assert.Len(t, buckets, mostBuckets)
	assert.Equal(t, 128, buckets[len(buckets)-1])
	padded := func(buckets []int) (sum int) {
		for _, n := range lengths {
			for _, b := range buckets {
				if n <= b {
					sum += b
					break
				}
			}
		}
		return sum
	}
	// No other choice of as many multiples of 8 pads less.
	for mask := range 1 << 15 {
		var other []int
		for i := range 15 {
			if mask>>i&1 == 1 {
				other = append(other, 8*(i+1))
			}
		}
		if other = append(other, 128); len(other) == mostBuckets {
			require.GreaterOrEqual(t, padded(other), padded(buckets), "%v", other)
		}
	}
}

func TestBucketsHoldEveryRowOnceAndAreFull(t *testing.T) {
	for seed := range uint64(50) {
		lengths := make([]int, 200)
		for i := range lengths {
			lengths[i] = 1 + int(seed+1)*i*i%97
		}
		s := sampler{lengths: lengths, size: 16, tokens: 512, buckets: chooseBuckets(lengths)}
		asked := s.training(seed, 3)
		require.Equal(t, asked, s.training(seed, 3))
		require.Len(t, s.training(seed, 4), len(asked), "the number of steps is the same in every epoch")
		seen := make([]int, len(lengths))
		short := 0
		for _, r := range asked {
			require.Equal(t, 3, r.Epoch)
			require.LessOrEqual(t, len(r.Indices)*r.Length, 512)
			if len(r.Indices) < s.rows(r.Length) {
				short++
			}
			for _, i := range r.Indices {
				seen[i]++
				require.LessOrEqual(t, lengths[i], r.Length)
			}
		}
		require.LessOrEqual(t, short, 1)
		for i, n := range seen {
			require.Equal(t, 1, n, "row %d", i)
		}
	}
}
