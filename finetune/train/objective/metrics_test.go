package objective

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune/train/metric"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/torch/torchtest"
)

func TestMain(m *testing.M) { torchtest.Main(m) }

// measured lists what an objective's metric reports.
func measured(t *testing.T, o Objective) []string {
	m := o.NewMetric()
	defer m.Close()
	score, err := m.Score()
	require.NoError(t, err)
	return score.Names()
}

func TestMetricsOfObjectives(t *testing.T) {
	for _, c := range []struct {
		o        Objective
		defaults []string
		names    []string
		none     string
	}{
		{Classification{Classes: []string{"a", "b"}, LabelSmoothing: 0.1}, []string{"loss", "accuracy", "macro_f1"},
			[]string{"auroc", "f1"}, "mse"},
		{Labels{Names: []string{"a"}}, []string{"loss", "micro_f1", "macro_f1", "subset_accuracy"},
			[]string{"hamming_loss"}, "accuracy"},
		{Number{}, []string{"loss", "mse", "mae", "pearson", "spearman"}, []string{"r2", "mse"}, "f1"},
	} {
		assert.Equal(t, c.defaults, measured(t, c.o), "the first one chooses the best epoch: an order that users know")
		o, err := c.o.WithMetrics(c.names)
		require.NoError(t, err)
		assert.Equal(t, append([]string{"loss"}, c.names...), measured(t, o))
		assert.Equal(t, c.defaults, measured(t, c.o), "the objective itself is not changed")
		again, err := o.WithMetrics(nil)
		require.NoError(t, err)
		assert.Equal(t, c.o, again)

		var e *metric.NameError
		_, err = c.o.WithMetrics([]string{c.names[0], c.none})
		require.ErrorAs(t, err, &e)
		assert.Equal(t, 1, e.Position)
		assert.ErrorContains(t, err, "there are ")
		assert.ErrorContains(t, err, c.defaults[1]+", ")
		err = CheckMetrics(c.o.ProblemType(), c.o.Outputs(), []string{c.none})
		assert.ErrorAs(t, err, &e)
		assert.NoError(t, CheckMetrics(c.o.ProblemType(), 0, c.names))
	}
	assert.NoError(t, CheckMetrics(SingleLabel, 0, []string{"f1"}))
	assert.ErrorContains(t, CheckMetrics(SingleLabel, 3, []string{"f1"}), "one of 3 classes is meant")
}

// A name that is none, in a struct, is an error of the evaluation, and no panic.
func TestMetricsThatAreNone(t *testing.T) {
	m := Classification{Metrics: []string{"acuracy"}}.NewMetric()
	defer m.Close()
	torch.Scoped(func() {
		err := m.Add(nn.Values{torch.Zeros(torch.Float32, torch.CPU, 2, 2)}, nn.Values{torch.FromSlice([]int{0, 1})})
		assert.ErrorContains(t, err, `did you mean "accuracy"?`)
	})
	_, err := m.Score()
	assert.ErrorContains(t, err, `did you mean "accuracy"?`)
}

func TestIntervalsOfObjectives(t *testing.T) {
	m := Number{Intervals: &metric.Bootstrap{Resamples: 50}}.NewMetric()
	defer m.Close()
	torch.Scoped(func() {
		outputs, targets := torch.FromSlice([]float32{1, 2, 4}, 3, 1), torch.FromSlice([]float32{1, 2, 3})
		require.NoError(t, m.Add(nn.Values{outputs}, nn.Values{targets}))
	})
	score, err := m.Score()
	require.NoError(t, err)
	assert.Contains(t, score.Intervals, "mse")
	assert.Equal(t, 0.0, score.Intervals["mse"].Low)
}
