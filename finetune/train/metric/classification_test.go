package metric

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch/torchtest"
)

func TestMetricsEqualScikitLearns(t *testing.T) {
	golden := torchtest.Golden[struct {
		Cases []struct {
			Name            string
			Classes         int
			True, Predicted []int
			Accuracy        float64
			MacroF1         float64 `json:"macro_f1"`
			Confusion       [][]int
		}
	}](t, "metrics.json")
	require.NotEmpty(t, golden.Cases)
	for _, c := range golden.Cases {
		counts := newConfusion(c.Classes)
		for i, class := range c.True {
			counts[class][c.Predicted[i]]++
		}
		m := counts.metrics(3 * float64(len(c.True)))
		assert.Equal(t, c.Confusion, m.Confusion, c.Name)
		assert.Equal(t, len(c.True), m.Rows, c.Name)
		assert.InDelta(t, c.Accuracy, m.Accuracy, 1e-15, c.Name)
		assert.InDelta(t, c.MacroF1, m.MacroF1, 1e-15, c.Name)
		assert.InDelta(t, 3, m.Loss, 1e-15, c.Name)
	}
}

func TestMetricsOfNothing(t *testing.T) {
	assert.Equal(t, Metrics{Confusion: [][]int{{0, 0}, {0, 0}}}, newConfusion(2).metrics(0))
}

func TestTable(t *testing.T) {
	m := Metrics{Confusion: [][]int{{12, 3}, {4, 1234567}}}
	assert.Equal(t, `true \ predicted  negative  positive
negative                12         3
positive                 4   1234567
`, m.Table([]string{"negative", "positive"}))
	assert.Equal(t, `true \ predicted              no  höchst zufriedenstellend
no                            12                         3
höchst zufriedenstellend       4                   1234567
`, m.Table([]string{"no", "höchst zufriedenstellend"}))
}

func TestEvaluate(t *testing.T) {
	model, data := newNet(t), newSamples(3, 41, mixed)
	var report record
	m := evaluate(t, model, data, 7, &report)
	assert.Equal(t, 41, m.Rows)
	assert.Equal(t, []string{"begin evaluate 41", "end evaluate true"}, report.lines)
	alone := evaluate(t, model, data, 1, nil)
	assert.Equal(t, m.Confusion, alone.Confusion, "rows do not see each other, nor padding")
	assert.InDelta(t, m.Loss, alone.Loss, 1e-6)

	none := evaluate(t, model, newSamples(3, 0, mixed), 7, nil)
	assert.Zero(t, none.Rows)
}

func TestEvaluateOfAModelLeftInTraining(t *testing.T) {
	model, data := newNet(t), newSamples(3, 41, mixed)
	want := evaluate(t, model, data, 7, nil)
	for _, l := range model.Layers {
		l.SetTraining(true)
		l.Dropout.SetTraining(true)
	}
	got := evaluate(t, model, data, 7, nil)
	assert.Equal(t, want, got)
}
