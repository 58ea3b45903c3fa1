package metric

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
)

var three = []string{"a", "b", "c"}

func TestNamesThatAreNone(t *testing.T) {
	classes := func(names ...string) error { _, err := Options{Names: names}.Classification(three); return err }
	labels := func(names ...string) error { _, err := Options{Names: names}.MultiLabel(three, 0.5); return err }
	numbers := func(names ...string) error { _, err := Options{Names: names}.Regression(); return err }
	for _, c := range []struct {
		err  error
		at   int
		want string
	}{
		{classes("accuracy", "acuracy"), 1, `the metric "acuracy": a classification has no such metric; did you mean "accuracy"? there are ` + strings.Join(ClassificationNames(), ", ")},
		{classes("mse"), 0, `the metric "mse": a classification has no such metric; there are ` + strings.Join(ClassificationNames(), ", ")},
		{classes("loss"), 0, `the metric "loss": the loss is always reported; leave it out`},
		{classes("kappa", "auroc", "kappa"), 2, `the metric "kappa": named twice`},
		{classes("f1"), 0, `the metric "f1": one of 3 classes is meant: name macro_f1, micro_f1 or weighted_f1`},
		{classes("top_3_accuracy"), 0, `the metric "top_3_accuracy": with 3 classes it is always 1`},
		{classes("top_0_accuracy"), 0, `the metric "top_0_accuracy": a classification has no such metric`},
		{classes("top_K_accuracy"), 0, `the metric "top_K_accuracy": a number stands in place of K: top_2_accuracy, top_5_accuracy`},
		{labels("accuracy"), 0, `the metric "accuracy": a problem of several labels has no such metric; there are ` + strings.Join(MultiLabelNames(), ", ")},
		{numbers("accuracy"), 0, `the metric "accuracy": a regression has no such metric; there are mse, rmse, mae, r2, pearson, spearman`},
		{numbers("persson"), 0, `did you mean "pearson"?`},
	} {
		var e *NameError
		if assert.ErrorAs(t, c.err, &e, c.want) {
			assert.ErrorContains(t, c.err, c.want)
			assert.Equal(t, c.at, e.Position)
		}
	}
	require.NoError(t, classes("top_2_accuracy"))
	require.NoError(t, classes())
	_, err := Options{Names: []string{"f1", "precision", "recall"}}.Classification(three[:2])
	require.NoError(t, err)
}

// Where classes have no names, the head's output tells how many there are.
func TestNamesThatDoNotFitTheHead(t *testing.T) {
	m, err := Options{Names: []string{"f1"}}.Classification(nil)
	require.NoError(t, err)
	defer m.Close()
	torch.Scoped(func() {
		err = m.Add(nn.Values{torch.Zeros(torch.Float32, torch.CPU, 2, 3)}, nn.Values{torch.FromSlice([]int{0, 1})})
	})
	assert.ErrorContains(t, err, `the metric "f1": one of 3 classes is meant`)
}

// The defaults are the first of what there is to name, and every name measures something.
func TestEveryNameMeasures(t *testing.T) {
	for _, name := range append(slices.DeleteFunc(ClassificationNames(), func(name string) bool { return name == topKListed }), "top_1_accuracy") {
		m, err := Options{Names: []string{name}}.Classification(nil)
		require.NoError(t, err)
		score := scoreOf(t, m, 4, 3, func(from, to int) (torch.Tensor, torch.Tensor) {
			return torch.FromSlice([]float32{1, 0, 0, 2, 3, 0, 0, 4}[2*from:2*to], to-from, 2), torch.FromSlice([]int{0, 1, 0, 1}[from:to])
		})
		require.Len(t, score.Values, 1)
		v := score.Values[0]
		assert.Equal(t, name, v.Name)
		assert.Equal(t, slices.Contains([]string{"log_loss", "brier", "calibration_error"}, name), v.Lower, name)
		if !v.Lower {
			assert.Equal(t, 1.0, v.Value, "%s of predictions that are all right", name)
			continue
		}
		assert.Greater(t, v.Value, 0.0, name)
		assert.Less(t, v.Value, 0.2, name)
	}
}

// Rows whose target is -100 are passed over in every metric.
func TestNamedMetricsPassOverIgnoredRows(t *testing.T) {
	names := slices.DeleteFunc(ClassificationNames(), func(name string) bool { return name == topKListed })
	logits, classes := []float32{1, 0, 0, 2, 9, 0, 3, 1, 0, 4, 0, 9}, []int{0, 1, -100, 1, 1, -100}
	var scores []Score
	for _, keep := range [][]int{{0, 1, 2, 3, 4, 5}, {0, 1, 3, 4}} {
		m, err := Options{Names: append(names, "top_1_accuracy"), Intervals: &Bootstrap{Resamples: 20}}.Classification(nil)
		require.NoError(t, err)
		scores = append(scores, scoreOf(t, m, len(keep), 4, func(from, to int) (torch.Tensor, torch.Tensor) {
			var rows []float32
			var truth []int
			for _, row := range keep[from:to] {
				rows, truth = append(rows, logits[2*row:2*row+2]...), append(truth, classes[row])
			}
			return torch.FromSlice(rows, to-from, 2), torch.FromSlice(truth)
		}))
	}
	assert.Equal(t, 4, scores[0].Rows)
	assert.Equal(t, scores[1].Values, scores[0].Values)
	for name, interval := range scores[1].Intervals {
		assert.Equal(t, interval.String(), scores[0].Intervals[name].String(), name)
	}
	assert.InDelta(t, 0.75, scores[0].Value("accuracy"), 1e-15)
}

// Outputs that are no numbers give NaN, and neither a panic nor a number that looks like a score.
func TestNamedMetricsOfNaN(t *testing.T) {
	nan := float32(math.NaN())
	m, err := Options{Names: []string{"auroc", "average_precision", "log_loss", "brier", "calibration_error", "top_1_accuracy"}}.Classification(nil)
	require.NoError(t, err)
	score := scoreOf(t, m, 2, 2, func(int, int) (torch.Tensor, torch.Tensor) {
		return torch.FromSlice([]float32{nan, 1, 0, 1}, 2, 2), torch.FromSlice([]int{0, 1})
	})
	for _, v := range score.Values[:5] {
		assert.True(t, math.IsNaN(v.Value), "%s is %v", v.Name, v.Value)
	}
	assert.True(t, math.IsNaN(score.Loss))

	m, err = Options{Names: []string{"auroc", "micro_auroc", "average_precision"}}.MultiLabel(nil, 0.5)
	require.NoError(t, err)
	score = scoreOf(t, m, 2, 2, func(int, int) (torch.Tensor, torch.Tensor) {
		return torch.FromSlice([]float32{nan, 1, 0, 1}, 2, 2), torch.FromSlice([]float32{0, 1, 1, 0}, 2, 2)
	})
	for _, v := range score.Values {
		assert.True(t, math.IsNaN(v.Value), "%s is %v", v.Name, v.Value)
	}
}

// Without rows what is asked for has a value, or NaN, and no panic.
func TestNamedMetricsOfNothing(t *testing.T) {
	class, err := Options{Names: append(ClassificationNames()[:len(ClassificationNames())-1], "top_1_accuracy"), Intervals: &Bootstrap{}}.Classification(three[:2])
	require.NoError(t, err)
	labels, err := Options{Names: MultiLabelNames(), Intervals: &Bootstrap{}}.MultiLabel(three, 0.5)
	require.NoError(t, err)
	numbers, err := Options{Names: RegressionNames(), Intervals: &Bootstrap{}}.Regression()
	require.NoError(t, err)
	for _, m := range []Metric{class, labels, numbers} {
		score, err := m.Score()
		require.NoError(t, err)
		assert.Empty(t, score.Intervals)
		m.Close()
	}
}
