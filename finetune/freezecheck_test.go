package finetune

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
)

func TestFreezeCheckFindsAFrozenTensorThatMoved(t *testing.T) {
	for name, c := range map[string]struct {
		train Selection
		pick  func(*net) torch.Tensor
		stage int // in which it is written
		key   string
	}{
		"a parameter of the prefix":            {HeadOnly(), func(n *net) torch.Tensor { return n.Layers[1].Linear.Weight }, 4, "stage.1.linear.weight"},
		"a parameter, while the cache is made": {HeadOnly(), func(n *net) torch.Tensor { return n.Layers[3].Linear.Bias }, 0, "stage.3.linear.bias"},
		"a buffer of the prefix":               {Top(1), func(n *net) torch.Tensor { return n.Layers[0].Mean }, 3, "stage.0.running_mean"},
		"a buffer behind a trained stage":      {Selection{"stage.1"}, func(n *net) torch.Tensor { return n.Layers[2].Mean }, 1, "stage.2.running_mean"},
		"a parameter of a trained stage":       {Selection{"stage.1.*.bias", "top 1"}, func(n *net) torch.Tensor { return n.Layers[1].Linear.Weight }, 0, "stage.1.linear.weight"},
	} {
		t.Run(name, func(t *testing.T) {
			model := newNet(t)
			recording := false
			var seen events
			seen.on = func(e Event) error {
				switch e.(type) {
				case train.Progress, train.StepDone: // the digests are taken
					recording = true
				}
				return nil
			}
			model.before = func(stage int) {
				if stage == c.stage && recording {
					torch.NoGrad(func() { c.pick(model).AddScalar_(0.25) })
				}
			}
			o := quick(t, Phase{Train: c.train, Epochs: 2, LR: 1e-3})
			_, err := start(t, o, model, newSamples(1, 24, mixed), newSamples(2, 8, mixed), &seen)
			require.EqualError(t, err, "frozen tensors moved: "+c.key+"; this is a defect of the model's code or of Thaw")
			assertFailed(t, o, err)
		})
	}
}

func TestFreezeCheckFindsAParameterWithoutGradient(t *testing.T) {
	model := newNet(t)
	model.Layers[3].Spare = nn.Constant(1, 3)
	o := quick(t, Phase{Train: Top(1), Epochs: 1, LR: 1e-3})
	_, err := start(t, o, model, newSamples(1, 24, mixed), newSamples(2, 8, mixed), nil)
	require.EqualError(t, err, "epoch 1: step 1: parameters that should train got no gradient: stage.3.spare")
	assert.NoDirExists(t, o.Folder.Path())

	o.Phases[0].Train = HeadOnly() // frozen, it may be there
	_, err = start(t, o, model, newSamples(1, 24, mixed), newSamples(2, 8, mixed), nil)
	require.NoError(t, err)
}

func TestFreezeCheckFindsAParameterThatNeverMoved(t *testing.T) {
	o := quick(t, Phase{Train: Top(1), Epochs: 1, LR: 1e-30})
	_, err := start(t, o, newNet(t), newSamples(1, 24, mixed), newSamples(2, 8, mixed), nil)
	require.EqualError(t, err, "parameters that should train never moved: stage.3.linear.weight, stage.3.linear.bias, head.weight, head.bias; "+
		"is their learning rate too small, or do they not take part in the loss?")
	assertFailed(t, o, err)

	// The head alone moves.
	o = quick(t, Phase{Train: Top(1), Epochs: 1, LR: 1e-30, HeadLR: 1e-3})
	_, err = start(t, o, newNet(t), newSamples(1, 24, mixed), newSamples(2, 8, mixed), nil)
	require.ErrorContains(t, err, "never moved: stage.3.linear.weight, stage.3.linear.bias; is")
}

func TestFreezeCheckHoldsForAPhaseOfOneStep(t *testing.T) {
	for _, schedule := range []Schedule{Linear, Cosine, Constant, OneCycle} {
		o := quick(t, Phase{Train: Top(1), Epochs: 1, LR: 1e-3, Schedule: schedule, WarmUp: 0.5})
		_, err := start(t, o, newNet(t), newSamples(1, 8, mixed), newSamples(2, 8, mixed), nil)
		assert.NoError(t, err, schedule)
	}
}
