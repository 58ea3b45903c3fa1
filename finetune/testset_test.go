package finetune

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/finetune/train/metric"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/data"
)

// Without test samples the last epoch counts as the best, and nothing is measured: there may be no test set at all, a
// nil pointer to one, or one without samples.
func TestFitWithoutTestSamples(t *testing.T) {
	var weights map[string][]byte
	for name, testSet := range map[string]data.Dataset[*rows]{
		"none": nil, "a nil pointer": (*samples)(nil), "an empty one": newSamples(2, 0, mixed),
	} {
		t.Run(name, func(t *testing.T) {
			o := quick(t, Phase{Train: Top(1), Epochs: 2, LR: 1e-2})
			var seen events
			o.OnEvent = seen.add
			model := newNet(t)
			before := torch.Stats()
			var result *Result
			var err error
			if !assert.NotPanics(t, func() { result, err = Fit[*rows](t.Context(), model, newSamples(1, 20, mixed), testSet, o) }) {
				return
			}
			requireAtRest(t, model, before)
			require.NoError(t, err)
			assert.Equal(t, 2, result.BestEpoch, "the last epoch counts as the best")
			assert.Equal(t, metric.Score{}, result.Best)
			assert.Equal(t, metric.Score{}, result.Last)
			assert.Equal(t, metric.Score{}, result.Before)
			assert.Equal(t, []any{
				milestone{"started", prefixTask, 20, false}, milestone{"done", prefixTask, 20, false},
				milestone{"started", epochTask(1), 20, false}, train.GradientsChecked{Tensors: 4}, milestone{"done", epochTask(1), 20, false},
				milestone{"started", epochTask(2), 20, false}, milestone{"done", epochTask(2), 20, false}, FreezeChecked{1},
			}, seen.milestones())
			read := func(name string) string {
				text, err := os.ReadFile(filepath.Join(o.Folder.Path(), name))
				require.NoError(t, err)
				return string(text)
			}
			assert.Equal(t, read("weights/last.safetensors"), read("weights/best.safetensors"))
			assert.NotContains(t, read("summary.json"), `"best":`)
			assert.NotContains(t, read("summary.json"), `"before":`)
			assert.Contains(t, read("metrics.csv"), ",,")
			if weights == nil {
				weights = model.bytes()
			}
			assert.Equal(t, weights, model.bytes())
		})
	}
}

// Training data that are not there are an error, and no panic.
func TestFitWithoutTrainingSamples(t *testing.T) {
	for name, trainSet := range map[string]data.Dataset[*rows]{
		"none": nil, "a nil pointer": (*samples)(nil), "an empty one": newSamples(2, 0, mixed),
	} {
		t.Run(name, func(t *testing.T) {
			assert.NotPanics(t, func() {
				_, err := Fit[*rows](t.Context(), newNet(t), trainSet, nil, quick(t, Phase{}))
				assert.ErrorContains(t, err, "nothing to train on")
			})
		})
	}
}

// The zero value of every option is a default.
func TestFitByDefault(t *testing.T) {
	o := Options{}
	model := newNet(t)
	before := model.bytes()
	result, err := Fit[*rows](t.Context(), model, newSamples(1, 40, mixed), newSamples(2, 10, mixed), o)
	require.NoError(t, err)
	require.Len(t, result.Epochs, 1)
	for key, now := range model.bytes() {
		assert.Equal(t, key == "head.weight" || key == "head.bias", string(now) != string(before[key]), key)
	}
	assert.Empty(t, o.Phases, "the caller's options stay as they are")
}

func TestOptionsResolved(t *testing.T) {
	o, err := Options{}.resolved()
	require.NoError(t, err)
	assert.Equal(t, Options{
		Phases: []Phase{{Train: HeadOnly(), Epochs: 1, LR: 1e-3, HeadLR: 1e-3, LayerDecay: 1, WarmUp: 0.1, Schedule: Linear}},
		Batch:  Batching{Size: 32, Accumulate: 1, EvalSize: 64}, ClipNorm: 1, Checkpoint: Checkpointing{Keep: 2}, Cache: Caching{Place: CacheAuto, Precision: "auto"}, ShardOptimizer: "auto",
		GradientCheckpointing: "auto",
		Optimizer:             Optimizer{Name: "adamw", WeightDecay: 0.01, Betas: [2]float64{0.9, 0.999}, Eps: 1e-8},
	}, o)
	phases := []Phase{AllFor(2), {Train: Top(1), Schedule: OneCycle, LR: 2}, {WarmUp: Off}}
	o, err = Options{
		Phases: phases, Batch: Batching{Size: 3}, ClipNorm: Off, Optimizer: Optimizer{Name: "sgd", WeightDecay: Off, Momentum: Off},
	}.resolved()
	require.NoError(t, err)
	assert.Equal(t, []Phase{
		{Train: All(), Epochs: 2, LR: 5e-5, HeadLR: 10 * 5e-5, LayerDecay: 1, WarmUp: 0.1, Schedule: Linear},
		{Train: Top(1), Epochs: 1, LR: 2, HeadLR: 20, LayerDecay: 1, WarmUp: 0.3, Schedule: OneCycle},
		{Train: HeadOnly(), Epochs: 1, LR: 1e-3, HeadLR: 1e-3, LayerDecay: 1, Schedule: Linear},
	}, o.Phases)
	assert.Equal(t, Batching{Size: 3, Accumulate: 1, EvalSize: 6}, o.Batch)
	assert.Zero(t, o.ClipNorm)
	assert.Equal(t, Optimizer{Name: "sgd"}, o.Optimizer)
	assert.Equal(t, Phase{Train: All(), Epochs: 2}, phases[0], "the caller's phases stay as they are")
}

// Every wrong option is named, with what was found; several at once.
func TestOptionsRefuse(t *testing.T) {
	nan := float64(0)
	nan /= nan
	for want, o := range map[string]Options{
		"Phases[0].Epochs must be 1 or more, found -1":                                                           {Phases: []Phase{{Epochs: -1}}},
		"Phases[1].LR must be above 0, found -0.1":                                                               {Phases: []Phase{{}, {LR: -0.1}}},
		"Phases[0].HeadLR must be above 0, found NaN":                                                            {Phases: []Phase{{HeadLR: nan}}},
		"Phases[0].LayerDecay must be above 0 and at most 1, found 1.5":                                          {Phases: []Phase{{LayerDecay: 1.5}}},
		"Phases[0].WarmUp must be from 0 to below 1, or Off, found 1":                                            {Phases: []Phase{{WarmUp: 1}}},
		`Phases[0].Schedule must be linear, cosine, constant, one-cycle, polynomial, step or plateau, found "x"`: {Phases: []Phase{{Schedule: "x"}}},
		`Phases[0].Train: expected "top" and a number from 1 up`:                                                 {Phases: []Phase{{Train: Top(0)}}},
		"Batch.Size must be 1 or more, found -8":                                                                 {Batch: Batching{Size: -8}},
		"Batch.Tokens must be 0 (no budget) or above, found -1":                                                  {Batch: Batching{Tokens: -1}},
		"Batch.EvalSize must be 1 or more, found -1":                                                             {Batch: Batching{EvalSize: -1}},
		"ClipNorm must be above 0 or Off, found -2":                                                              {ClipNorm: -2},
		"Threads must be 0 (libtorch's choice) or above, found -1":                                               {Threads: -1},
		"Optimizer.WeightDecay must be above 0 or Off, found -0.5":                                               {Optimizer: Optimizer{WeightDecay: -0.5}},
		"Optimizer.Betas must be":                                                                                {Optimizer: Optimizer{Betas: [2]float64{0.9, 1}}},
		"Optimizer.Eps must be above 0, found -1":                                                                {Optimizer: Optimizer{Eps: -1}},
		"Optimizer.Momentum must be from 0 to below 1, found 1":                                                  {Optimizer: Optimizer{Name: "sgd", Momentum: 1}},
		"Optimizer.Nesterov needs a momentum above 0":                                                            {Optimizer: Optimizer{Name: "sgd", Momentum: Off, Nesterov: true}},
	} {
		_, err := o.resolved()
		assert.ErrorContains(t, err, want)
	}
	_, err := Options{ClipNorm: -2, Batch: Batching{Size: -8}}.resolved()
	assert.ErrorContains(t, err, "ClipNorm")
	assert.ErrorContains(t, err, "Batch.Size")
}
