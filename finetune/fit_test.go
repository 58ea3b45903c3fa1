package finetune

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/finetune/train/metric"
	"github.com/thaw-ml/thaw/finetune/train/objective"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/data"
)

// quick is options of phases on batches of 8, whose run folder does not exist yet.
func quick(t testing.TB, phases ...Phase) Options {
	return Options{
		Phases: phases, Batch: Batching{Size: 8}, Seed: 1, Precision: "float32", Device: "cpu",
		Folder: NewFolder(filepath.Join(t.TempDir(), "run")),
	}
}

// start is a Fit that must leave as many live tensors as there were, and every module at rest.
func start(t testing.TB, o Options, model *net, trainSet, testSet *samples, seen *events) (*Result, error) {
	t.Helper()
	return startIn(t, t.Context(), o, model, trainSet, testSet, seen)
}

func startIn(t testing.TB, ctx context.Context, o Options, model *net, trainSet, testSet *samples, seen *events) (*Result, error) {
	t.Helper()
	if seen != nil {
		o.OnEvent = seen.add
	}
	before := torch.Stats()
	result, err := Fit[*rows](ctx, model, trainSet, orNil(testSet), o)
	requireAtRest(t, model, before)
	return result, err
}

// orNil is a data set as an interface, nil where it is nil.
func orNil(s *samples) data.Dataset[*rows] {
	if s == nil {
		return nil
	}
	return s
}

// requireAtRest checks that as many tensors live as before, and that the model was left as for evaluation.
func requireAtRest(t testing.TB, model *net, before torch.Statistics) {
	t.Helper()
	after := torch.Stats()
	require.Equal(t, before.Tensors+before.Collected, after.Tensors+after.Collected, "live tensors after the run")
	for i, l := range model.Layers {
		require.False(t, l.training, "stage.%d is left in training", i)
		require.False(t, l.Linear.Weight.RequiresGrad(), "stage.%d is left recording", i)
		require.False(t, l.Linear.Weight.Grad().Defined(), "stage.%d is left with a gradient", i)
	}
	require.False(t, model.Head.Weight.RequiresGrad(), "the head is left recording")
	require.False(t, model.Head.Weight.Grad().Defined(), "the head is left with a gradient")
}

func TestFitLearns(t *testing.T) {
	model, trainSet, testSet := newNet(t), newSamples(1, 160, mixed), newSamples(2, 60, mixed)
	var seen events
	result, err := start(t, quick(t, Phase{Train: Top(2), Epochs: 6, LR: 1e-2, HeadLR: 1e-2}), model, trainSet, testSet, &seen)
	require.NoError(t, err)
	assert.Greater(t, result.Best.Value("accuracy"), 0.85)
	assert.Greater(t, result.Best.Value("accuracy"), result.Before.Value("accuracy"))
	require.Len(t, result.Epochs, 6)
	assert.Less(t, result.Epochs[5].TrainLoss, result.Epochs[0].TrainLoss)
	assert.Equal(t, result.Epochs[5].Test, result.Last.WithoutClasses())
	assert.Equal(t, result.Epochs[result.BestEpoch-1].Test, result.Best.WithoutClasses())
	for i, e := range result.Epochs {
		assert.Equal(t, i+1, e.Number)
		assert.Equal(t, 60, e.Test.Rows)
		assert.LessOrEqual(t, e.Test.Value("accuracy"), result.Best.Value("accuracy"))
	}
	assert.Positive(t, result.Throughput)
	assert.Positive(t, result.PeakBytes)
	assert.GreaterOrEqual(t, result.Seconds.Total, result.Seconds.Train+result.Seconds.Evaluate+result.Seconds.Prefix)
	want := []any{
		milestone{"started", prefixTask, 220, false}, milestone{"done", prefixTask, 220, false},
		milestone{"started", baselineTask, 60, false}, milestone{"done", baselineTask, 60, true},
	}
	for n := 1; n <= 6; n++ {
		want = append(want, milestone{"started", epochTask(n), 160, false})
		if n == 1 {
			want = append(want, train.GradientsChecked{Tensors: 6})
		}
		want = append(want, milestone{"done", epochTask(n), 160, true})
	}
	assert.Equal(t, append(want, FreezeChecked{Phase: 1}), seen.milestones())
	steps := eventsOf[train.StepDone](&seen)
	require.Len(t, steps, 6*20)
	for i, s := range steps {
		assert.Equal(t, i+1, s.Step)
		assert.Equal(t, 1+i/20, s.Epoch)
		assert.Equal(t, 8*(1+i%20), s.Samples)
		assert.Positive(t, s.Loss)
	}
	for i, d := range eventsOf[EpochDone](&seen) {
		assert.Equal(t, result.Epochs[i], d.Epoch)
		assert.Equal(t, d.TrainLoss, steps[20*i+19].Loss)
	}
	path := result.Folder + "/weights/"
	saved := eventsOf[Saved](&seen)
	assert.Equal(t, Saved{path + "last.safetensors"}, saved[len(saved)-1])
	best := 0
	for _, d := range eventsOf[EpochDone](&seen) {
		if d.Best {
			best++
			assert.LessOrEqual(t, d.Number, result.BestEpoch)
		}
	}
	assert.Equal(t, best, len(saved)-1, "the weights of each epoch that was the best so far")

	again := evaluate(t, model, testSet, 16)
	assert.Equal(t, result.Last.Classes, again.Classes, "the model in memory has the last weights")
	assert.InDelta(t, result.Last.Loss, again.Loss, 1e-6)
}

func TestFitIsDecidedByItsSeed(t *testing.T) {
	type outcome struct {
		before, best, last metric.Score
		losses             []float64
		weights, first     string
	}
	once := func(seed uint64) (out outcome) {
		o := quick(t, Phase{Train: Top(2), Epochs: 2, LR: 1e-3})
		o.Seed = seed
		var seen events
		result, err := start(t, o, newNet(t), newSamples(1, 60, mixed), newSamples(2, 20, mixed), &seen)
		require.NoError(t, err)
		assert.Equal(t, seed, result.Seed)
		out.before, out.best, out.last, out.losses = result.Before, result.Best, result.Last, seen.losses()
		for name, to := range map[string]*string{"last": &out.weights, "best": &out.first} {
			file, err := os.ReadFile(filepath.Join(o.Folder.Path(), "weights", name+".safetensors"))
			require.NoError(t, err)
			*to = string(file)
		}
		return out
	}
	first := once(1)
	require.Len(t, first.losses, 16)
	assert.Equal(t, first, once(1))
	other := once(2)
	assert.Equal(t, first.before, other.before, "nothing is drawn before the training")
	assert.NotEqual(t, first.losses, other.losses)
	assert.NotEqual(t, first.weights, other.weights)
}

func TestFitMovesWhatItShould(t *testing.T) {
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

func TestFitOfAModelLeftInTraining(t *testing.T) {
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

func TestFitPhaseAfterPhase(t *testing.T) {
	model := newNet(t)
	o := quick(t, Phase{Train: HeadOnly(), Epochs: 2, LR: 1e-2}, Phase{Train: Top(1), Epochs: 1, LR: 1e-2}, Phase{Train: All(), Epochs: 2, LR: 1e-2, LayerDecay: 0.5})
	var seen events
	result, err := start(t, o, model, newSamples(1, 80, mixed), newSamples(2, 30, mixed), &seen)
	require.NoError(t, err)
	var phases []int
	for i, e := range result.Epochs {
		assert.Equal(t, i+1, e.Number)
		phases = append(phases, e.Phase)
	}
	assert.Equal(t, []int{1, 1, 2, 3, 3}, phases)
	plans := seen.plans()
	require.Len(t, plans, 3)
	for i, want := range []int{4, 3, 0} {
		assert.Equal(t, want, plans[i].NumFrozen)
		assert.Equal(t, want > 0, plans[i].Cached)
	}
	baselines := 0
	for _, s := range eventsOf[train.TaskStarted](&seen) {
		if s.Task == baselineTask {
			baselines++
		}
	}
	assert.Equal(t, 1, baselines, "only before the first phase")
	assert.Equal(t, []FreezeChecked{{1}, {2}, {3}}, eventsOf[FreezeChecked](&seen))
	for key, now := range model.bytes() {
		assert.NotEqual(t, newNet(t).bytes()[key], now, key)
	}
}

func TestFitOptions(t *testing.T) {
	losses := func(t *testing.T, change func(*Options)) []float64 {
		o := quick(t, Phase{Train: Top(2), Epochs: 2, LR: 1e-3, WarmUp: Off})
		change(&o)
		var seen events
		_, err := start(t, o, newNet(t), newSamples(1, 40, mixed), newSamples(2, 12, mixed), &seen)
		require.NoError(t, err)
		require.Len(t, seen.losses(), 10)
		return seen.losses()
	}
	plain := losses(t, func(*Options) {})
	for name, c := range map[string]struct {
		change    func(*Options)
		sameFirst bool // loss, before anything moved
	}{
		"without clipping": {func(s *Options) { s.ClipNorm = Off }, true},
		"clipped hard":     {func(s *Options) { s.ClipNorm = 1e-3 }, true},
		"sgd":              {func(s *Options) { s.Optimizer = Optimizer{Name: "sgd", Nesterov: true} }, true},
		"sgd without momentum": {func(s *Options) {
			s.Optimizer = Optimizer{Name: "sgd", Momentum: Off, WeightDecay: Off}
		}, true},
		"cosine": {func(s *Options) { s.Phases[0].Schedule = Cosine }, true},
		"label smoothing": {func(s *Options) {
			s.Objective = objective.Classification{Classes: []string{"minus", "plus"}, LabelSmoothing: 0.2}
		}, false},
		"bfloat16":     {func(s *Options) { s.Precision = "bfloat16" }, false},
		"token budget": {func(s *Options) { s.Batch = Batching{Size: 5, Tokens: 64, EvalSize: 3} }, false},
		"one thread":   {func(s *Options) { s.Threads = 1 }, false},
	} {
		t.Run(name, func(t *testing.T) {
			threads := torch.NumThreads()
			defer torch.SetNumThreads(threads)
			if name == "token budget" {
				o := quick(t, Phase{Train: Top(2), Epochs: 2, LR: 1e-3})
				c.change(&o)
				_, err := start(t, o, newNet(t), newSamples(1, 40, mixed), newSamples(2, 12, mixed), nil)
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

func TestFitInBFloat16MeasuresInFloat32(t *testing.T) {
	o := quick(t, Phase{Train: HeadOnly(), Epochs: 1, LR: 1e-3})
	o.Precision = "bfloat16"
	// One row: the mean over rows cannot hide that a loss was rounded to 8 bits.
	result, err := start(t, o, newNet(t), newSamples(1, 8, mixed), newSamples(2, 1, mixed), nil)
	require.NoError(t, err)
	loss := float32(result.Before.Loss)
	assert.NotEqual(t, torch.ToBF16(loss).Float32(), loss, "the loss was computed in bfloat16")
}
