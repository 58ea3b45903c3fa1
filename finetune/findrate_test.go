package finetune

import (
	"context"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/torch"
)

func TestFindRate(t *testing.T) {
	model, set := newNet(t), newSamples(1, 40, mixed)
	o := quick(t, Phase{Train: HeadOnly(), Epochs: 1, LR: 1e-2}, Phase{Train: Top(2), Epochs: 3, LR: 1e-3})
	held := torch.Stats()
	epochs, steps := 0, 0
	o.OnEvent = func(e Event) error {
		switch e := e.(type) {
		case train.StepDone:
			steps++
		case EpochDone:
			epochs++
			assert.Equal(t, 1, e.Phase)
		}
		return nil
	}
	curve, err := FindRate[*rows](t.Context(), model, set, o, 1, RateRange{Steps: 40, To: 1e-2})
	require.NoError(t, err)
	assert.Equal(t, 1, epochs, "the phase before is trained")
	assert.Equal(t, 5+40, steps)
	assert.Equal(t, 2, curve.Phase)
	require.Len(t, curve.Rates, 40)
	assert.False(t, curve.Diverged)
	assert.InDelta(t, 1e-7, curve.Rates[0], 1e-12)
	assert.InDelta(t, 1e-2, curve.Rates[39], 1e-9)
	for i := 2; i < 40; i++ {
		assert.InDelta(t, curve.Rates[1]/curve.Rates[0], curve.Rates[i]/curve.Rates[i-1], 1e-9)
	}
	mean := 0.0
	for i, loss := range curve.Losses {
		assert.Greater(t, loss, 0.0)
		mean = 0.98*mean + 0.02*loss
		assert.InDelta(t, mean/(1-math.Pow(0.98, float64(i+1))), curve.Smooth[i], 1e-9)
	}
	assert.NoDirExists(t, o.Folder.Path(), "nothing is written")
	requireAtRest(t, model, held)
}

// The losses are those of the steps: at rates that change nothing, those of evaluating batch by batch.
func TestFindRateMeasuresSingleSteps(t *testing.T) {
	set := newSamples(1, 24, mixed)
	o := quick(t, Phase{Train: HeadOnly(), Epochs: 1, LR: 1e-3})
	curve, err := FindRate[*rows](t.Context(), newNet(t), set, o, 0, RateRange{From: 1e-30, To: 1e-29, Steps: 21})
	require.NoError(t, err)
	model := newNet(t)
	r := newRun[*rows](train.CPU{}, torch.Float32, model, set, nil, o)
	r.options.Batch.EvalSize = 8
	var want []float64
	r.start()
	for epoch := 1; len(want) < 21; epoch++ {
		for _, request := range r.trainSampler.Training(1, epoch) {
			b, err := set.Batch(request)
			require.NoError(t, err)
			torch.Scoped(func() {
				output := r.forward.Run(b, 0, 5)
				want = append(want, r.objective.Loss(output, b.Targets()).Item())
			})
		}
	}
	for i := range curve.Losses {
		assert.InDelta(t, want[i], curve.Losses[i], 1e-5, i)
	}
}

func TestFindRateEndsWhereTheLossDiverges(t *testing.T) {
	o := quick(t, Phase{Train: All(), Epochs: 1, LR: 1e-3})
	o.Optimizer.Name, o.ClipNorm = "sgd", Off
	curve, err := FindRate[*rows](t.Context(), newNet(t), newSamples(1, 40, mixed), o, 0, RateRange{From: 1e-3, To: 1e6, Steps: 60})
	require.NoError(t, err)
	assert.True(t, curve.Diverged)
	assert.Less(t, len(curve.Rates), 60)
	for _, v := range curve.Losses {
		assert.False(t, math.IsNaN(v))
	}
}

func TestFindRateRefuses(t *testing.T) {
	o := quick(t, Phase{Train: HeadOnly(), Epochs: 1, LR: 1e-3})
	for want, c := range map[string]struct {
		phase int
		r     RateRange
	}{
		"finetune: there is no phase 2":                                      {1, RateRange{}},
		"finetune: the learning rate must rise from above 0, found 1 to 0.1": {0, RateRange{From: 1, To: 0.1}},
		"finetune: the learning rate must rise from above 0, found -1 to 10": {0, RateRange{From: -1}},
		"finetune: a curve needs 20 steps or more, found 3":                  {0, RateRange{Steps: 3}},
	} {
		_, err := FindRate[*rows](t.Context(), newNet(t), newSamples(1, 8, nil), o, c.phase, c.r)
		assert.EqualError(t, err, want)
	}
	_, err := FindRate[*rows](t.Context(), newNet(t), newSamples(1, 0, nil), o, 0, RateRange{})
	assert.EqualError(t, err, "there is nothing to train on: the training data has no rows")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = FindRate[*rows](ctx, newNet(t), newSamples(1, 8, nil), o, 0, RateRange{})
	assert.ErrorIs(t, err, context.Canceled)
}

// fastai 2.8's valley, worked out by hand: of the points that are left, the longest fall of n points that ends at e
// begins at e-n, and the suggestion is at e-n + int(n/3) + int(n/6).
func TestValley(t *testing.T) {
	rates := make([]float64, 100)
	losses := make([]float64, 100)
	for i := range rates {
		rates[i] = float64(i)
	}
	for i := range losses { // flat to 30, falls to 70, rises
		losses[i] = 1 - 0.01*float64(min(max(i-30, 0), 40)) + 0.1*float64(max(i-70, 0))
	}
	// Points 10 to 94 are left. The fall is 30 to 70, 41 points, which ends at 60 of them: 60-41+13+6 is 38, step 48.
	assert.Equal(t, 48.0, valley(rates, losses))
	for i := range losses {
		losses[i] = float64(i)
	}
	assert.Zero(t, valley(rates, losses), "it only rises")
	for i := range losses {
		losses[i] = -float64(i)
	}
	assert.Equal(t, 10.0+(-1+28+14), valley(rates, losses), "it only falls")
	for i := range losses {
		losses[i] = 2
	}
	assert.Zero(t, valley(rates, losses), "it is flat")
	assert.Zero(t, valley(rates[:6], losses[:6]), "too short")
}
