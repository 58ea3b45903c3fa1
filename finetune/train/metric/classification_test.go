package metric

import (
	"encoding/json"
	"math"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/torch/torchtest"
)

func TestScoresOfNothing(t *testing.T) {
	for name, m := range map[string]Metric{
		"classes": NewClassification([]string{"a", "b"}), "no names": NewClassification(nil),
		"labels": NewMultiLabel([]string{"a", "b"}, 0.5), "numbers": NewRegression(),
	} {
		score, err := m.Score()
		require.NoError(t, err, name)
		assert.True(t, score.IsZero(), name)
		assert.Zero(t, score.Loss, name)
		assert.Zero(t, score.Rows, name)
		text, err := json.Marshal(score)
		require.NoError(t, err, name)
		assert.True(t, json.Valid(text), name)
		m.Close()
	}
	score, err := NewClassification([]string{"a", "b"}).Score()
	require.NoError(t, err)
	assert.Equal(t, [][]int{{0, 0}, {0, 0}}, score.Classes.Confusion)
}

func TestTable(t *testing.T) {
	c := &Classes{PerClass: []ClassScore{{Name: "negative"}, {Name: "positive"}}, Confusion: [][]int{{12, 3}, {4, 1234567}}}
	assert.Equal(t, `true \ predicted  negative  positive
negative                12         3
positive                 4   1234567
`, c.String())
	c.PerClass[0].Name, c.PerClass[1].Name = "no", "höchst zufriedenstellend"
	assert.Equal(t, `true \ predicted              no  höchst zufriedenstellend
no                            12                         3
höchst zufriedenstellend       4                   1234567
`, c.String())
}

// What the data have and what the head gives must agree; the error says both.
func TestMetricsRefuse(t *testing.T) { torchtest.Scoped(t, func() { metricsRefuse(t) }) }

func metricsRefuse(t *testing.T) {
	numbers := func(shape ...int) nn.Values { return nn.Values{torch.Zeros(torch.Float32, torch.CPU, shape...)} }
	classes := nn.Values{torch.FromSlice([]int{0, 1})}
	for _, c := range []struct {
		metric         Metric
		output, target nn.Values
		want           string
	}{
		{NewClassification([]string{"a", "b", "c"}), numbers(2, 2), classes, "the head gives 2 scores a row, the data has 3 classes"},
		{NewMultiLabel([]string{"a", "b", "c"}, 0.5), numbers(2, 2), numbers(2, 2), "the head gives 2 scores a row, the data has 3 labels"},
		{NewRegression(), numbers(2, 2), numbers(2), "the head gives [2 2] numbers and the data [2]: one for each sample is measured"},
		{NewRegression(), numbers(2, 1), numbers(3), "the head gives [2 1] numbers and the data [3]: one for each sample is measured"},
		{NewClassification(nil), numbers(2, 2), nil, "the samples have no targets to measure against"},
		{NewClassification(nil), append(numbers(2, 2), numbers(2, 2)...), classes, "the head gives 2 tensors, and one is measured"},
		{NewRegression(), nil, numbers(2), "the head gives 0 tensors, and one is measured"},
		{NewMultiLabel(nil, 0.5), numbers(2, 2), nn.Values{{}}, "the samples have no targets to measure against"},
	} {
		assert.EqualError(t, c.metric.Add(c.output, c.target), c.want)
		c.metric.Close()
	}
}

// A target of -100 is passed over, as cross-entropy passes it over; another one that is no class is an error, not a panic.
func TestClassificationOfATargetThatIsNoClass(t *testing.T) {
	for _, class := range []int{-100, -1, 2} {
		m := NewClassification([]string{"a", "b"})
		assert.NotPanics(t, func() {
			var score Score
			err := torch.TryErr(func() (err error) {
				torch.Scoped(func() {
					logits := torch.FromSlice([]float32{1, 0, 0, 1}, 2, 2)
					if err = m.Add(nn.Values{logits}, nn.Values{torch.FromSlice([]int{0, class})}); err == nil {
						score, err = m.Score()
					}
				})
				return err
			})
			if class != -100 {
				assert.Error(t, err, "class %d", class)
				return
			}
			assert.NoError(t, err)
			assert.Equal(t, 1.0, score.Value("accuracy"))
			assert.Equal(t, [][]int{{1, 0}, {0, 0}}, score.Classes.Confusion)
			assert.InDelta(t, math.Log1p(math.Exp(-1)), score.Loss, 1e-6)
		}, "class %d", class)
		m.Close()
	}
}

// Outputs that are no numbers have a score, or an error, in no time: the loss tells of them.
func TestRegressionOfNaN(t *testing.T) {
	for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		done := make(chan Score, 1)
		go func() {
			runtime.LockOSThread()
			m := NewRegression()
			defer m.Close()
			torch.Scoped(func() {
				outputs := torch.FromSlice([]float32{1, float32(bad), 3, float32(bad)}, 4, 1)
				assert.NoError(t, m.Add(nn.Values{outputs}, nn.Values{torch.FromSlice([]float32{1, 2, 3, 4})}))
			})
			score, err := m.Score()
			assert.NoError(t, err)
			done <- score
		}()
		select {
		case score := <-done:
			assert.True(t, math.IsNaN(score.Loss) || math.IsInf(score.Loss, 0))
			text, err := json.Marshal(score)
			require.NoError(t, err)
			assert.Contains(t, string(text), `"loss":null`)
		case <-time.After(20 * time.Second):
			t.Fatalf("summing up outputs of %v never ends", bad)
		}
	}
}

// With many classes a score grows with their number, not with its square, and lists the pairs that are confused most.
func TestTenThousandClasses(t *testing.T) {
	const classes, rows = 10_000, 400
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	m := NewClassification(nil)
	// Row i is of class i/4; every fourth one is taken for class 7, rows 0 to 3 for class 9999.
	score := scoreOf(t, m, rows, 100, func(from, to int) (torch.Tensor, torch.Tensor) {
		logits, truth := torch.Zeros(torch.Float32, torch.CPU, to-from, classes), []int{}
		for i := from; i < to; i++ {
			class := i / 4
			truth = append(truth, class)
			switch {
			case class == 0:
				class = classes - 1
			case i%4 == 0:
				class = 7
			}
			logits.Select(0, i-from).Select(0, class).Fill_(5)
		}
		return logits, torch.FromSlice(truth)
	})
	runtime.ReadMemStats(&after)
	assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(20<<20), "a matrix would take 800 MB")
	assert.Equal(t, rows, score.Rows)
	assert.InDelta(t, float64(3*99+1)/rows, score.Value("accuracy"), 1e-15) // class 7 is taken for itself
	assert.Len(t, score.Classes.PerClass, classes)
	assert.Nil(t, score.Classes.Confusion)
	require.Len(t, score.Classes.MostConfused, mostConfusions)
	assert.Equal(t, ConfusedPair{True: "0", Predicted: "9999", Count: 4}, score.Classes.MostConfused[0])
	assert.Equal(t, ConfusedPair{True: "1", Predicted: "7", Count: 1}, score.Classes.MostConfused[1])
	assert.Equal(t, ConfusedPair{True: "2", Predicted: "7", Count: 1}, score.Classes.MostConfused[2], "as many are in order")

	text, err := json.Marshal(score)
	require.NoError(t, err)
	assert.Less(t, len(text), 100*classes)
	text, err = json.Marshal(score.WithoutClasses())
	require.NoError(t, err)
	assert.Less(t, len(text), 200, "an epoch's score has no sums of each class")
	assert.NotNil(t, score.Classes, "the score itself is as it was")

	table := score.Classes.String()
	assert.Less(t, strings.Count(table, "\n"), MostClasses+mostConfusions+10)
	assert.Contains(t, table, "     4  0 taken for 9999\n")
}

// Up to MostClasses classes there is a matrix, and no list of pairs.
func TestTheMatrixEndsAtMostClasses(t *testing.T) {
	for classes, matrix := range map[int]bool{MostClasses: true, MostClasses + 1: false} {
		score := scoreOf(t, NewClassification(nil), 2, 2, func(int, int) (torch.Tensor, torch.Tensor) {
			return torch.Zeros(torch.Float32, torch.CPU, 2, classes), torch.FromSlice([]int{0, 1})
		})
		assert.Equal(t, matrix, score.Classes.Confusion != nil)
		assert.Equal(t, !matrix, score.Classes.MostConfused != nil)
	}
}

func TestBetter(t *testing.T) {
	value := func(x float64, lower bool) Value { return Value{Name: "x", Value: x, Lower: lower} }
	nan := math.NaN()
	for _, c := range []struct {
		now, best   float64
		lower, want bool
	}{
		{0.9, 0.8, false, true}, {0.8, 0.9, false, false}, {0.8, 0.8, false, false},
		{0.9, 0.8, true, false}, {0.8, 0.9, true, true}, {0.8, 0.8, true, false},
		{nan, 0.8, false, false}, {0.8, nan, false, true}, {nan, nan, true, false}, {0.8, nan, true, true},
	} {
		assert.Equal(t, c.want, value(c.now, c.lower).Better(value(c.best, c.lower)), "%+v", c)
	}
}

func TestScoresAsJSON(t *testing.T) {
	score := Score{Loss: 0.5, Rows: 3, Values: []Value{{Name: "mse", Value: 0.25, Lower: true}, {Name: "pearson", Value: math.NaN()}},
		Classes: &Classes{PerClass: []ClassScore{{Name: "a", Precision: 1, Recall: 0.5, F1: 2. / 3, Support: 2}}, Confusion: [][]int{{1}}}}
	text, err := json.Marshal(score)
	require.NoError(t, err)
	assert.JSONEq(t, `{"loss": 0.5, "mse": 0.25, "pearson": null, "rows": 3, "confusion": [[1]],
		"classes": [{"name": "a", "precision": 1, "recall": 0.5, "f1": 0.6666666666666666, "support": 2}]}`, string(text))
	text, err = json.Marshal(Score{Rows: 1, Values: []Value{{Name: "a \x01 \"name\"", Value: 1}}})
	require.NoError(t, err)
	assert.True(t, json.Valid(text), "%s", text)
}
