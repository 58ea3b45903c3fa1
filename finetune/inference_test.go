package finetune

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
)

// evaluate measures a model on the CPU.
func evaluate(t *testing.T, model *net, data *samples, size int, report Reporter) Metrics {
	t.Helper()
	n, err := NewInference[*rows](model, "cpu", "float32")
	require.NoError(t, err)
	m, err := n.Evaluate(t.Context(), data, size, report)
	require.NoError(t, err)
	require.NoError(t, n.Close())
	return m
}

// outputs are what a model says of the samples, by their position.
func outputs(t *testing.T, n *Inference[*rows], data *samples, size int) [][]float32 {
	t.Helper()
	all := make([][]float32, data.Len())
	require.NoError(t, n.Outputs(t.Context(), data, SortedBatches(data, size), func(b *rows, output torch.Tensor) error {
		assert.Equal(t, torch.CPU, output.Device())
		values := torch.ToSlice[float32](output)
		for k, i := range b.Indices() {
			all[i] = values[k*output.Size(1) : (k+1)*output.Size(1)]
		}
		return nil
	}))
	return all
}

func TestInference(t *testing.T) {
	model, data := newNet(t), newSamples(3, 23, mixed)
	n, err := NewInference[*rows](model, "", "")
	require.NoError(t, err)
	one := outputs(t, n, data, 1)
	for i, row := range outputs(t, n, data, 7) {
		assert.InDeltaSlice(t, one[i], row, 1e-5, "sample %d: samples do not see each other", i)
	}
	assert.NotEqual(t, one[0], one[1])
	require.NoError(t, n.Close())
}

// moves checks that a model can be used on a device before and after others, and behind a run.
func moves(t *testing.T, device string) {
	model, data := newNet(t), newSamples(3, 23, mixed)
	n, err := NewInference[*rows](model, "cpu", "float32")
	require.NoError(t, err)
	check := func(want [][]float32, tolerance float64) {
		t.Helper()
		for i, row := range outputs(t, n, data, 7) {
			assert.InDeltaSlice(t, want[i], row, tolerance)
		}
	}
	want := outputs(t, n, data, 7)
	for _, to := range []string{device, device, "cpu", device} {
		require.NoError(t, n.Move(to, "float32"))
		assert.Equal(t, to, n.Device().String())
		check(want, 1e-5)
	}
	assert.ErrorContains(t, n.Move("gpu", "float32"), `found "gpu"`)
	assert.Equal(t, device, n.Device().String(), "it stays where it was")
	check(want, 1e-5)

	require.NoError(t, n.Move(device, "bfloat16"))
	rounded := outputs(t, n, data, 7)
	assert.NotEqual(t, want, rounded)
	check(want, 0.05)

	require.NoError(t, n.Move(device, "float32"))
	spec := quick(t, Phase{Train: All(), Epochs: 1, LR: 1e-2})
	spec.Device = device
	_, err = Run[*rows](t.Context(), spec, model, newSamples(4, 40, mixed), newSamples(5, 8, mixed), nil)
	require.NoError(t, err)
	trained := outputs(t, n, data, 7)
	assert.NotEqual(t, want, trained)
	require.NoError(t, n.Move("cpu", "float32"))
	check(trained, 1e-5)
	require.NoError(t, n.Close())
}

func TestInferenceMoves(t *testing.T) { moves(t, "cpu") }

func TestInferenceEndsAtAnError(t *testing.T) {
	model, data := newNet(t), newSamples(3, 23, mixed)
	n, err := NewInference[*rows](model, "cpu", "bfloat16")
	require.NoError(t, err)
	defer n.Close()
	enough, calls := errors.New("enough"), 0
	err = n.Outputs(t.Context(), data, SortedBatches(data, 5), func(*rows, torch.Tensor) error {
		calls++
		return enough
	})
	assert.ErrorIs(t, err, enough)
	assert.Equal(t, 1, calls)

	broken := errors.New("row 4 is broken")
	data.before = func([]int) error { return broken }
	err = n.Outputs(t.Context(), data, SortedBatches(data, 5), func(*rows, torch.Tensor) error { return nil })
	assert.ErrorIs(t, err, broken)
}

func TestInferenceRefuses(t *testing.T) {
	for _, c := range []struct{ device, precision, want string }{
		{"gpu", "auto", `device: expected auto, cpu, cuda, cuda:0, found "gpu"; did you mean "cuda"?`},
		{"cuda:x", "auto", `device: expected auto, cpu, cuda, cuda:0, found "cuda:x"; did you mean "cuda:0"?`},
		{"cpu", "float16", `precision: expected auto, float32, bfloat16, found "float16"; did you mean "bfloat16"?`},
	} {
		_, err := NewInference[*rows](newNet(t), c.device, c.precision)
		assert.EqualError(t, err, c.want)
	}
}
