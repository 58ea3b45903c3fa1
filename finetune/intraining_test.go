package finetune

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
)

// A model may be used in OnEvent, which changes nothing in the training, and not on another goroutine meanwhile.
func TestInferenceBesideTraining(t *testing.T) {
	set, test := newSamples(1, 40, mixed), newSamples(2, 20, mixed)
	fit := func(look func(n *Inference[*rows], e Event)) map[string][]byte {
		model := newNet(t)
		n, err := NewInference[*rows](model, "cpu", "float32")
		require.NoError(t, err)
		defer n.Close()
		o := quick(t, Phase{Train: All(), Epochs: 2, LR: 1e-2})
		o.OnEvent = func(e Event) error { look(n, e); return nil }
		_, err = Fit[*rows](t.Context(), model, set, test, o)
		require.NoError(t, err)
		out := map[string][]byte{}
		for key, bytes := range model.bytes() {
			out[key] = []byte(bytes)
		}
		return out
	}
	want := fit(func(*Inference[*rows], Event) {})
	steps := 0
	got := fit(func(n *Inference[*rows], e Event) {
		first, err := n.Evaluate(t.Context(), test, 8)
		require.NoError(t, err)
		if _, ok := e.(train.StepDone); !ok {
			return
		}
		steps++
		again, err := n.Evaluate(t.Context(), test, 8)
		require.NoError(t, err)
		assert.Equal(t, first, again, "dropout is off")
		failed := make(chan error)
		go func() {
			_, err := n.Evaluate(t.Context(), test, 8)
			failed <- err
		}()
		assert.ErrorIs(t, <-failed, errInTraining)
	})
	assert.Positive(t, steps)
	assert.Equal(t, want, got)
}

func TestClosedModel(t *testing.T) {
	model := &net{Head: nn.NewLinear(width, 2, nn.LinearOptions{}, torch.NewGenerator(1))}
	n, err := NewInference[*rows](model, "cpu", "float32")
	require.NoError(t, err)
	nn.Close(model)
	_, err = n.Evaluate(t.Context(), newSamples(1, 4, nil), 4)
	assert.ErrorContains(t, err, "the model was closed already")
	_, err = Fit[*rows](t.Context(), model, newSamples(1, 4, nil), nil, Options{})
	assert.ErrorContains(t, err, "the model was closed already")
}

func TestPredictOptionsSize(t *testing.T) {
	_, err := PredictOptions{BatchSize: -1}.Size()
	assert.EqualError(t, err, "predicting: PredictOptions.BatchSize must be 0 (64) or above, found -1")
	size, err := PredictOptions{}.Size()
	require.NoError(t, err)
	assert.Equal(t, 64, size)
}
