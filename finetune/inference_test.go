package finetune

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/finetune/train/metric"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/data"
	"github.com/thaw-ml/thaw/torch/nn"
)

// evaluate measures a model on the CPU.
func evaluate(t testing.TB, model *net, set *samples, size int) metric.Score {
	t.Helper()
	n, err := NewInference[*rows](model, "cpu", "float32")
	require.NoError(t, err)
	m, err := n.Evaluate(t.Context(), set, size)
	require.NoError(t, err)
	require.NoError(t, n.Close())
	return m
}

// sortedBatches asks for all samples, long ones first.
func sortedBatches(set *samples, size int) []data.Request {
	return data.NewSampler[*rows](set, data.SamplerOptions{Size: size}).Evaluation()
}

// outputs are what a model says of the samples, by their position.
func outputs(t *testing.T, n *Inference[*rows], set *samples, size int) [][]float32 {
	t.Helper()
	all := make([][]float32, set.Len())
	require.NoError(t, n.Outputs(t.Context(), set, sortedBatches(set, size), func(b *rows, output nn.Values) error {
		assert.Equal(t, torch.CPU, output[0].Device())
		values := torch.ToSlice[float32](output[0])
		for k, i := range b.Indices() {
			all[i] = values[k*output[0].Size(1) : (k+1)*output[0].Size(1)]
		}
		return nil
	}))
	return all
}

func TestInference(t *testing.T) {
	model, set := newNet(t), newSamples(3, 23, mixed)
	n, err := NewInference[*rows](model, "", "")
	require.NoError(t, err)
	one := outputs(t, n, set, 1)
	for i, row := range outputs(t, n, set, 7) {
		assert.InDeltaSlice(t, one[i], row, 1e-5, "sample %d: samples do not see each other", i)
	}
	assert.NotEqual(t, one[0], one[1])
	require.NoError(t, n.Close())
}

// moves checks that a model can be used on a device before and after others, and behind a run.
func moves(t *testing.T, device string) {
	model, set := newNet(t), newSamples(3, 23, mixed)
	n, err := NewInference[*rows](model, "cpu", "float32")
	require.NoError(t, err)
	check := func(want [][]float32, tolerance float64) {
		t.Helper()
		for i, row := range outputs(t, n, set, 7) {
			assert.InDeltaSlice(t, want[i], row, tolerance)
		}
	}
	want := outputs(t, n, set, 7)
	for _, to := range []string{device, device, "cpu", device} {
		require.NoError(t, n.Move(to, "float32"))
		assert.Equal(t, to, n.Device().String())
		check(want, 1e-5)
	}
	assert.ErrorContains(t, n.Move("gpu", "float32"), `no device is named "gpu"`)
	assert.Equal(t, device, n.Device().String(), "it stays where it was")
	check(want, 1e-5)

	require.NoError(t, n.Move(device, "bfloat16"))
	rounded := outputs(t, n, set, 7)
	assert.NotEqual(t, want, rounded)
	check(want, 0.05)

	require.NoError(t, n.Move(device, "float32"))
	o := quick(t, Phase{Train: All(), Epochs: 1, LR: 1e-2})
	o.Device = device
	_, err = Fit[*rows](t.Context(), model, newSamples(4, 40, mixed), newSamples(5, 8, mixed), o)
	require.NoError(t, err)
	trained := outputs(t, n, set, 7)
	assert.NotEqual(t, want, trained)
	require.NoError(t, n.Move("cpu", "float32"))
	check(trained, 1e-5)
	require.NoError(t, n.Close())
}

func TestInferenceMoves(t *testing.T) { moves(t, "cpu") }

func TestInferenceEndsAtAnError(t *testing.T) {
	model, set := newNet(t), newSamples(3, 23, mixed)
	n, err := NewInference[*rows](model, "cpu", "bfloat16")
	require.NoError(t, err)
	defer n.Close()
	enough, calls := errors.New("enough"), 0
	err = n.Outputs(t.Context(), set, sortedBatches(set, 5), func(*rows, nn.Values) error {
		calls++
		return enough
	})
	assert.ErrorIs(t, err, enough)
	assert.Equal(t, 1, calls)

	broken := errors.New("row 4 is broken")
	set.before = func([]int) error { return broken }
	err = n.Outputs(t.Context(), set, sortedBatches(set, 5), func(*rows, nn.Values) error { return nil })
	assert.ErrorIs(t, err, broken)
}

func TestInferenceRefuses(t *testing.T) {
	for _, c := range []struct{ device, precision, option, want string }{
		{"gpu", "auto", "device", `no device is named "gpu"`},
		{"cuda:x", "auto", "device", `no device is named "cuda:x"`},
		{"cpu", "float8", "precision", `precision: expected auto, float32, bfloat16 or float16, found "float8"`},
	} {
		_, err := NewInference[*rows](newNet(t), c.device, c.precision)
		var fault *train.DeviceError
		require.ErrorAs(t, err, &fault)
		assert.Equal(t, c.option, fault.Option)
		assert.ErrorContains(t, err, c.want)
	}
}

func TestEvaluate(t *testing.T) {
	model, set := newNet(t), newSamples(3, 41, mixed)
	m := evaluate(t, model, set, 7)
	assert.Equal(t, 41, m.Rows)
	alone := evaluate(t, model, set, 1)
	assert.Equal(t, m.Classes, alone.Classes, "rows do not see each other, nor padding")
	assert.InDelta(t, m.Loss, alone.Loss, 1e-6)

	none := evaluate(t, model, newSamples(3, 0, mixed), 7)
	assert.Zero(t, none.Rows)
}

func TestEvaluateOfAModelLeftInTraining(t *testing.T) {
	model, set := newNet(t), newSamples(3, 41, mixed)
	want := evaluate(t, model, set, 7)
	for _, l := range model.Layers {
		l.SetTraining(true)
		l.Dropout.SetTraining(true)
	}
	got := evaluate(t, model, set, 7)
	assert.Equal(t, want, got)
}
