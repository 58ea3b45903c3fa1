package recipe

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/finetune/train/objective"
)

func TestLoopOptions(t *testing.T) {
	s, err := Parse("reviews.yaml", []byte(reviews), "batch.accumulate=4", "ema=0.99", "early_stopping={patience: 2, min_delta: 1e-3}", "precision=float16",
		"class_weights=[1, 2.5]", "focal_gamma=2", "phases[0].schedule=polynomial", "phases[0].power=2", "phases[1].schedule=plateau", "phases[1].patience=0")
	require.NoError(t, err)
	requireRoundTrip(t, s)
	o := s.Options()
	assert.Equal(t, 4, o.Batch.Accumulate)
	assert.Equal(t, 0.99, o.EMA)
	assert.Equal(t, finetune.EarlyStopping{Patience: 2, MinDelta: 1e-3}, o.EarlyStopping)
	assert.Equal(t, "float16", o.Precision)
	assert.Equal(t, finetune.Phase{
		Train: finetune.HeadOnly(), Epochs: 1, LR: 1e-3, HeadLR: 1e-3, LayerDecay: 1, WarmUp: 0.1, Schedule: finetune.Polynomial, Power: 2, EndLR: 1e-7,
	}, o.Phases[0])
	assert.Equal(t, finetune.Off, o.Phases[1].Patience)
	assert.Equal(t, 0.1, o.Phases[1].Factor)

	found, err := s.objective([]string{"negative", "positive"}, objective.Targets{Classes: []int{0, 1}})
	require.NoError(t, err)
	c := found.(objective.Classification)
	assert.Equal(t, []float64{1, 2.5}, c.Weights)
	assert.Equal(t, 2.0, c.FocalGamma)

	s, err = Parse("reviews.yaml", []byte(reviews), "class_weights=balanced", "phases[0].schedule=step", "phases[0].step_epochs=3")
	require.NoError(t, err)
	requireRoundTrip(t, s)
	assert.Equal(t, 0.1, s.Options().Phases[0].Gamma)
	found, err = s.objective([]string{"negative", "positive"}, objective.Targets{Classes: []int{0, 0, 0, 1}})
	require.NoError(t, err)
	assert.Equal(t, []float64{4.0 / 6, 2}, found.(objective.Classification).Weights)
	_, err = s.objective([]string{"negative", "positive"}, objective.Targets{Classes: []int{0, 0}})
	assert.ErrorContains(t, err, `class "positive" has no training samples`)
}

func TestLoopOptionsRefuse(t *testing.T) {
	for override, want := range map[string]string{
		"batch.accumulate=-1":           ": must be 0 (off) or above, found -1",
		"ema=1":                         ": must be 0 (off) or above and below 1, such as 0.999; found 1",
		"early_stopping.patience=-1":    ": must be 0 (off) or above, found -1",
		"early_stopping.min_delta=0.1":  ": goes with early_stopping.patience",
		"class_weights=[1]":             ": found 1 of 2 weights: give one for each of head.classes, or balanced",
		"class_weights=[1, x]":          `: must be balanced, or a number above 0 for each class, such as [1, 3.5]; found "x"`,
		"class_weights=[1, -1]":         `found "-1"`,
		"focal_gamma=-1":                ": must be 0 (off) or above, found -1",
		"focal_alpha=0.25":              ": is for focal_gamma with head.objective: multi-label",
		"phases[0].power=2":             ": is for schedule: polynomial",
		"phases[0].gamma=0.5":           ": is for schedule: step",
		"phases[0].patience=3":          ": is for schedule: plateau",
		"phases[0].schedule=step":       ": must be 1 or more, the epochs after which the rate falls; found 0",
		"phases[0].schedule=polynomial": "",
		"preset=bert":                   ": brings its own phases, and the spec has some too",
		"preset=brt":                    `: there is none named "brt"; there are bert, torchvision-transfer`,
	} {
		_, err := Parse("reviews.yaml", []byte(reviews), override)
		if want == "" {
			assert.NoError(t, err, override)
			continue
		}
		assert.ErrorContains(t, err, want, override)
	}
	_, err := Parse("reviews.yaml", []byte(reviews), "focal_gamma=2", "label_smoothing=0.1")
	assert.ErrorContains(t, err, ": goes without label_smoothing")
	untested := strings.Replace(reviews, "  test: ", "  # test: ", 1)
	require.NotEqual(t, reviews, untested)
	_, err = Parse("reviews.yaml", []byte(untested), "early_stopping.patience=2", "phases[0].schedule=plateau")
	assert.ErrorContains(t, err, ": needs data.test")
	assert.ErrorContains(t, err, ": plateau needs data.test")
}

// Each preset is a spec by itself, that says all it stands for; what the spec gives holds.
func TestPresets(t *testing.T) {
	at := strings.Index(reviews, "phases:")
	end := strings.Index(reviews[at:], "\nseed")
	require.Greater(t, end, 0)
	without := reviews[:at] + reviews[at+end+1:]
	for _, p := range Presets {
		s, err := Parse("reviews.yaml", []byte(without), "preset="+p.Name, "batch.size=7")
		require.NoError(t, err, p.Name)
		assert.Equal(t, 7, s.Batch.Size, p.Name)
		assert.NotEmpty(t, s.Phases, p.Name)
		assert.NotEmpty(t, p.Source)
		assert.Empty(t, s.Preset)
		requireRoundTrip(t, s)
	}
	s, err := Parse("reviews.yaml", []byte(without), "preset=torchvision-transfer")
	require.NoError(t, err)
	o := s.Options()
	assert.Equal(t, finetune.Optimizer{Name: "sgd", WeightDecay: finetune.Off, Momentum: 0.9}, o.Optimizer)
	assert.Equal(t, []finetune.Phase{{
		Train: finetune.All(), Epochs: 25, LR: 1e-3, HeadLR: 1e-3, LayerDecay: 1, WarmUp: finetune.Off, Schedule: finetune.Step, StepEpochs: 7, Gamma: 0.1,
	}}, o.Phases)
	assert.EqualValues(t, finetune.Off, o.ClipNorm)
	assert.Equal(t, 4, o.Batch.Size)
}
