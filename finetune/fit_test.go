package finetune

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
)

// quick is a spec of phases on batches of 8, whose run folder does not exist yet.
func quick(t testing.TB, phases ...Phase) Spec {
	return Spec{
		Data: Data{MaxLength: 64}, Phases: phases, Batch: Batch{Size: 8}, Seed: 1, Precision: "float32", Device: "cpu",
		Out: filepath.Join(t.TempDir(), "run"),
	}
}

// start is a Run that must leave as many live tensors as there were, and every module at rest.
func start(t testing.TB, spec Spec, model *net, train, test *samples, report Reporter) (*Result, error) {
	t.Helper()
	return startIn(t, t.Context(), spec, model, train, test, report)
}

func startIn(t testing.TB, ctx context.Context, spec Spec, model *net, train, test *samples, report Reporter) (*Result, error) {
	t.Helper()
	before := torch.Stats()
	result, err := Run[*rows](ctx, spec, model, train, test, report)
	after := torch.Stats()
	require.Equal(t, before.Tensors+before.Collected, after.Tensors+after.Collected, "live tensors after the run")
	for i, l := range model.Layers {
		require.False(t, l.training, "stage.%d is left in training", i)
		require.False(t, l.Linear.Weight.RequiresGrad(), "stage.%d is left recording", i)
		require.False(t, l.Linear.Weight.Grad().Defined(), "stage.%d is left with a gradient", i)
	}
	return result, err
}

// record is a Reporter that keeps what it is told.
type record struct {
	lines   []string
	plans   []*Plan
	advance func(task string, samples int) // called at every Advance
	task    string
	losses  []float64 // of the epochs so far, at every step
}

func (r *record) Planned(_ int, p *Plan) { r.plans = append(r.plans, p) }
func (r *record) Begin(task string, n int) {
	r.task = task
	r.lines = append(r.lines, fmt.Sprintf("begin %s %d", task, n))
}
func (r *record) Advance(samples int, loss float64) {
	if strings.HasPrefix(r.task, "epoch") {
		r.losses = append(r.losses, loss)
	}
	if r.advance != nil {
		r.advance(r.task, samples)
	}
}
func (r *record) End(m *Metrics) {
	r.lines = append(r.lines, fmt.Sprintf("end %s %t", r.task, m != nil))
}
func (r *record) Note(subject, text string) { r.lines = append(r.lines, subject+" "+text) }

func TestRunLearns(t *testing.T) {
	model, train, test := newNet(t), newSamples(1, 160, mixed), newSamples(2, 60, mixed)
	var report record
	result, err := start(t, quick(t, Phase{Train: Top(2), Epochs: 6, LR: 1e-2, HeadLR: 1e-2}), model, train, test, &report)
	require.NoError(t, err)
	assert.Greater(t, result.Best.Accuracy, 0.85)
	assert.Greater(t, result.Best.Accuracy, result.Before.Accuracy)
	require.Len(t, result.Epochs, 6)
	assert.Less(t, result.Epochs[5].TrainLoss, result.Epochs[0].TrainLoss)
	assert.Equal(t, result.Epochs[5].Test, result.Last)
	assert.Equal(t, result.Epochs[result.BestEpoch-1].Test, result.Best)
	for i, e := range result.Epochs {
		assert.Equal(t, i+1, e.Epoch)
		assert.Equal(t, 60, e.Test.Rows)
		assert.LessOrEqual(t, e.Test.Accuracy, result.Best.Accuracy)
	}
	assert.Positive(t, result.Throughput)
	assert.Positive(t, result.PeakBytes)
	assert.GreaterOrEqual(t, result.Seconds.Total, result.Seconds.Train+result.Seconds.Evaluate+result.Seconds.Prefix)
	assert.Equal(t, []string{
		"begin prefix 220", "end prefix false", "begin before 60", "end before true",
		"begin epoch 1 160", "check frozen hashes taken · 6 of 6 tensors have gradients", "end epoch 1 true",
		"begin epoch 2 160", "end epoch 2 true", "begin epoch 3 160", "end epoch 3 true",
		"begin epoch 4 160", "end epoch 4 true", "begin epoch 5 160", "end epoch 5 true",
		"begin epoch 6 160", "end epoch 6 true", "check frozen tensors unchanged · every trained stage moved",
	}, report.lines)

	again := evaluate(t, model, test, 16, nil)
	assert.Equal(t, result.Last.Confusion, again.Confusion, "the model in memory has the last weights")
	assert.InDelta(t, result.Last.Loss, again.Loss, 1e-6)
}

func TestRunIsDecidedByItsSeed(t *testing.T) {
	type outcome struct {
		before, best, last Metrics
		losses             []float64
		weights, first     string
	}
	once := func(seed uint64) (o outcome) {
		spec := quick(t, Phase{Train: Top(2), Epochs: 2, LR: 1e-3})
		spec.Seed = seed
		var report record
		result, err := start(t, spec, newNet(t), newSamples(1, 60, mixed), newSamples(2, 20, mixed), &report)
		require.NoError(t, err)
		assert.Equal(t, seed, result.Seed)
		o.before, o.best, o.last, o.losses = result.Before, result.Best, result.Last, report.losses
		for name, to := range map[string]*string{"last": &o.weights, "best": &o.first} {
			file, err := os.ReadFile(filepath.Join(spec.Out, "weights", name+".safetensors"))
			require.NoError(t, err)
			*to = string(file)
		}
		return o
	}
	first := once(1)
	require.Len(t, first.losses, 16)
	assert.Equal(t, first, once(1))
	other := once(2)
	assert.Equal(t, first.before, other.before, "nothing is drawn before the training")
	assert.NotEqual(t, first.losses, other.losses)
	assert.NotEqual(t, first.weights, other.weights)
}

func TestRunMovesWhatItShould(t *testing.T) {
	for name, c := range map[string]struct {
		train Selection
		moved []string // beside the head
	}{
		"head":     {HeadOnly(), nil},
		"top 1":    {Top(1), []string{"stage.3.linear.weight", "stage.3.linear.bias", "stage.3.running_mean"}},
		"a stage":  {Selection{"stage.1"}, []string{"stage.1.linear.weight", "stage.1.linear.bias", "stage.1.running_mean"}},
		"a weight": {Selection{"stage.2.*.weight"}, []string{"stage.2.linear.weight", "stage.2.running_mean"}},
		"all": {All(), []string{
			"stage.0.linear.weight", "stage.0.linear.bias", "stage.0.running_mean", "stage.1.linear.weight", "stage.1.linear.bias", "stage.1.running_mean",
			"stage.2.linear.weight", "stage.2.linear.bias", "stage.2.running_mean", "stage.3.linear.weight", "stage.3.linear.bias", "stage.3.running_mean",
		}},
	} {
		for _, lengths := range []func(int) int{mixed, nil} {
			t.Run(fmt.Sprintf("%s, padded %t", name, lengths != nil), func(t *testing.T) {
				model := newNet(t)
				before := model.bytes()
				_, err := start(t, quick(t, Phase{Train: c.train, Epochs: 1, LR: 1e-2}), model, newSamples(1, 30, lengths), newSamples(2, 10, lengths), nil)
				require.NoError(t, err)
				var moved []string
				for key, now := range model.bytes() {
					if string(now) != string(before[key]) {
						moved = append(moved, key)
					}
				}
				assert.ElementsMatch(t, append([]string{"head.weight", "head.bias"}, c.moved...), moved)
			})
		}
	}
}

func TestRunOfAModelLeftInTraining(t *testing.T) {
	once := func(training bool) (*Result, map[string][]byte) {
		model := newNet(t)
		for _, l := range model.Layers {
			l.SetTraining(training)
			l.Dropout.SetTraining(training)
		}
		result, err := start(t, quick(t, Phase{Train: Top(1), Epochs: 1, LR: 1e-3}), model, newSamples(1, 30, mixed), newSamples(2, 10, mixed), nil)
		require.NoError(t, err)
		return result, model.bytes()
	}
	want, weights := once(false)
	got, same := once(true)
	assert.Equal(t, want.Before, got.Before)
	assert.Equal(t, weights, same)
}

func TestRunPhaseAfterPhase(t *testing.T) {
	model := newNet(t)
	spec := quick(t, Phase{Train: HeadOnly(), Epochs: 2, LR: 1e-2}, Phase{Train: Top(1), Epochs: 1, LR: 1e-2}, Phase{Train: All(), Epochs: 2, LR: 1e-2, LayerDecay: 0.5})
	var report record
	result, err := start(t, spec, model, newSamples(1, 80, mixed), newSamples(2, 30, mixed), &report)
	require.NoError(t, err)
	var phases []int
	for i, e := range result.Epochs {
		assert.Equal(t, i+1, e.Epoch)
		phases = append(phases, e.Phase)
	}
	assert.Equal(t, []int{1, 1, 2, 3, 3}, phases)
	require.Len(t, report.plans, 3)
	for i, want := range []int{4, 3, 0} {
		assert.Equal(t, want, report.plans[i].Prefix)
		assert.Equal(t, want > 0, report.plans[i].Cached)
	}
	assert.Equal(t, 1, strings.Count(strings.Join(report.lines, "\n"), "begin before"), "only before the first phase")
	for key, now := range model.bytes() {
		assert.NotEqual(t, newNet(t).bytes()[key], now, key)
	}
}

func TestRunWithoutTestRows(t *testing.T) {
	spec := quick(t, Phase{Train: Top(1), Epochs: 2, LR: 1e-2})
	var report record
	result, err := start(t, spec, newNet(t), newSamples(1, 20, mixed), newSamples(2, 0, mixed), &report)
	require.NoError(t, err)
	assert.Equal(t, 2, result.BestEpoch, "the last epoch counts as the best")
	assert.Equal(t, Metrics{}, result.Best)
	assert.Equal(t, Metrics{}, result.Before)
	assert.NotContains(t, strings.Join(report.lines, "\n"), "before")
	assert.Contains(t, report.lines, "end epoch 2 false")
	best, err := os.ReadFile(filepath.Join(spec.Out, "weights", "best.safetensors"))
	require.NoError(t, err)
	last, err := os.ReadFile(filepath.Join(spec.Out, "weights", "last.safetensors"))
	require.NoError(t, err)
	assert.Equal(t, last, best)
}

func TestRunOptions(t *testing.T) {
	losses := func(t *testing.T, change func(*Spec)) []float64 {
		spec := quick(t, Phase{Train: Top(2), Epochs: 2, LR: 1e-3, WarmUp: new(0.0)})
		change(&spec)
		var report record
		_, err := start(t, spec, newNet(t), newSamples(1, 40, mixed), newSamples(2, 12, mixed), &report)
		require.NoError(t, err)
		require.Len(t, report.losses, 10)
		return report.losses
	}
	plain := losses(t, func(*Spec) {})
	for name, c := range map[string]struct {
		change    func(*Spec)
		sameFirst bool // loss, before anything moved
	}{
		"without clipping": {func(s *Spec) { s.ClipNorm = new(0.0) }, true},
		"clipped hard":     {func(s *Spec) { s.ClipNorm = new(1e-3) }, true},
		"sgd":              {func(s *Spec) { s.Optimizer = Optimizer{Name: "sgd", Nesterov: true} }, true},
		"sgd without momentum": {func(s *Spec) {
			s.Optimizer = Optimizer{Name: "sgd", Momentum: new(0.0), WeightDecay: new(0.0)}
		}, true},
		"cosine":          {func(s *Spec) { s.Phases[0].Schedule = "cosine" }, true},
		"label smoothing": {func(s *Spec) { s.LabelSmoothing = 0.2 }, false},
		"bfloat16":        {func(s *Spec) { s.Precision = "bfloat16" }, false},
		"token budget":    {func(s *Spec) { s.Batch = Batch{Size: 5, Tokens: 64, EvalSize: 3} }, false},
		"one thread":      {func(s *Spec) { s.Threads = 1 }, false},
	} {
		t.Run(name, func(t *testing.T) {
			threads := torch.NumThreads()
			defer torch.SetNumThreads(threads)
			if name == "token budget" {
				spec := quick(t, Phase{Train: Top(2), Epochs: 2, LR: 1e-3})
				c.change(&spec)
				_, err := start(t, spec, newNet(t), newSamples(1, 40, mixed), newSamples(2, 12, mixed), nil)
				require.NoError(t, err)
				return
			}
			got := losses(t, c.change)
			if c.sameFirst {
				assert.Equal(t, plain[0], got[0])
			} else {
				assert.InDelta(t, plain[0], got[0], 0.1)
			}
			if name != "one thread" {
				assert.NotEqual(t, plain, got)
			}
		})
	}
}

func TestRunInBFloat16MeasuresInFloat32(t *testing.T) {
	spec := quick(t, Phase{Train: HeadOnly(), Epochs: 1, LR: 1e-3})
	spec.Precision = "bfloat16"
	// One row: the mean over rows cannot hide that a loss was rounded to 8 bits.
	result, err := start(t, spec, newNet(t), newSamples(1, 8, mixed), newSamples(2, 1, mixed), nil)
	require.NoError(t, err)
	loss := float32(result.Before.Loss)
	assert.NotEqual(t, torch.ToBF16(loss).Float32(), loss, "the loss was computed in bfloat16")
}
