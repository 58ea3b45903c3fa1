package metric

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/torch/torchtest"
)

// perClass is scikit-learn's precision_recall_fscore_support.
type perClass struct {
	Precision, Recall, F1 []float64
	Support               []int
}

// goldens is what testdata/metrics.py writes.
type goldens struct {
	Single []struct {
		Name            string
		Classes         int
		True, Predicted []int
		Accuracy        float64
		MacroF1         float64 `json:"macro_f1"`
		Confusion       [][]int
		PerClass        perClass `json:"per_class"`
	}
	Multi []struct {
		Name           string
		True           [][]float32
		Logits         [][]float32
		Threshold      float64
		Loss           float64
		MicroF1        float64  `json:"micro_f1"`
		MacroF1        float64  `json:"macro_f1"`
		SubsetAccuracy float64  `json:"subset_accuracy"`
		PerClass       perClass `json:"per_class"`
	}
	Regression []struct {
		Name              string
		True, Predicted   []float32
		MSE, MAE          float64
		Pearson, Spearman *float64 // nil: not defined
	}
}

// batchSizes are into how large batches a data set is cut: the score must not depend on it.
var batchSizes = []int{1, 7, 1000}

// scoreOf measures rows of outputs and targets, batch by batch, and frees all.
func scoreOf(t *testing.T, m Metric, n, size int, batch func(from, to int) (output, target torch.Tensor)) Score {
	t.Helper()
	defer m.Close()
	for from := 0; from < n; from += size {
		torch.Scoped(func() {
			output, target := batch(from, min(n, from+size))
			require.NoError(t, m.Add(nn.Values{output}, nn.Values{target}))
		})
	}
	score, err := m.Score()
	require.NoError(t, err)
	return score
}

func requireClasses(t *testing.T, want perClass, got []ClassScore, name string) {
	t.Helper()
	require.Len(t, got, len(want.F1), name)
	for i, c := range got {
		assert.InDelta(t, want.Precision[i], c.Precision, 1e-15, "%s: precision of %d", name, i)
		assert.InDelta(t, want.Recall[i], c.Recall, 1e-15, "%s: recall of %d", name, i)
		assert.InDelta(t, want.F1[i], c.F1, 1e-15, "%s: F1 of %d", name, i)
		assert.Equal(t, want.Support[i], c.Support, "%s: support of %d", name, i)
	}
}

func TestClassificationEqualsScikitLearn(t *testing.T) {
	golden := torchtest.Golden[goldens](t, "metrics.json")
	require.NotEmpty(t, golden.Single)
	for _, c := range golden.Single {
		for _, size := range batchSizes {
			// The predicted class has the logit log 3, the others 0.
			score := scoreOf(t, NewClassification(nil), len(c.True), size, func(from, to int) (torch.Tensor, torch.Tensor) {
				logits := make([]float32, (to-from)*c.Classes)
				for i := from; i < to; i++ {
					logits[(i-from)*c.Classes+c.Predicted[i]] = float32(math.Log(3))
				}
				return torch.FromSlice(logits, to-from, c.Classes), torch.FromSlice(c.True[from:to])
			})
			assert.Equal(t, len(c.True), score.Rows, c.Name)
			assert.Equal(t, []string{"loss", "accuracy", "macro_f1"}, score.Names())
			assert.InDelta(t, c.Accuracy, score.Value("accuracy"), 1e-15, c.Name)
			assert.InDelta(t, c.MacroF1, score.Value("macro_f1"), 1e-15, c.Name)
			// Each row's cross-entropy is log(classes + 2), less log 3 where the prediction is right.
			assert.InDelta(t, math.Log(float64(c.Classes+2))-c.Accuracy*math.Log(3), score.Loss, 1e-6, c.Name)
			assert.Equal(t, c.Confusion, score.Classes.Confusion, c.Name)
			assert.Empty(t, score.Classes.MostConfused)
			requireClasses(t, c.PerClass, score.Classes.PerClass, c.Name)
		}
	}
}

func TestMultiLabelEqualsScikitLearn(t *testing.T) {
	golden := torchtest.Golden[goldens](t, "metrics.json")
	require.NotEmpty(t, golden.Multi)
	for _, c := range golden.Multi {
		labels := len(c.True[0])
		flat := func(rows [][]float32) torch.Tensor {
			var all []float32
			for _, row := range rows {
				all = append(all, row...)
			}
			return torch.FromSlice(all, len(rows), labels)
		}
		for _, size := range batchSizes {
			score := scoreOf(t, NewMultiLabel(nil, c.Threshold), len(c.True), size, func(from, to int) (torch.Tensor, torch.Tensor) {
				return flat(c.Logits[from:to]), flat(c.True[from:to])
			})
			assert.Equal(t, len(c.True), score.Rows, c.Name)
			assert.Equal(t, []string{"loss", "micro_f1", "macro_f1", "subset_accuracy"}, score.Names())
			assert.InDelta(t, c.MicroF1, score.Value("micro_f1"), 1e-15, c.Name)
			assert.InDelta(t, c.MacroF1, score.Value("macro_f1"), 1e-15, c.Name)
			assert.InDelta(t, c.SubsetAccuracy, score.Value("subset_accuracy"), 1e-15, c.Name)
			assert.InDelta(t, c.Loss, score.Loss, 1e-6, c.Name)
			assert.Nil(t, score.Classes.Confusion, c.Name)
			requireClasses(t, c.PerClass, score.Classes.PerClass, c.Name)
		}
	}
}

func TestRegressionEqualsScikitLearnAndSciPy(t *testing.T) {
	golden := torchtest.Golden[goldens](t, "metrics.json")
	require.NotEmpty(t, golden.Regression)
	undefined := 0
	correlation := func(want *float64, got float64, name string) {
		t.Helper()
		if want == nil {
			undefined++
			assert.True(t, math.IsNaN(got), "%s: %v", name, got)
			return
		}
		assert.InDelta(t, *want, got, 1e-12, name)
	}
	for _, c := range golden.Regression {
		for _, size := range batchSizes {
			score := scoreOf(t, NewRegression(), len(c.True), size, func(from, to int) (torch.Tensor, torch.Tensor) {
				return torch.FromSlice(c.Predicted[from:to], to-from, 1), torch.FromSlice(c.True[from:to])
			})
			assert.Equal(t, len(c.True), score.Rows, c.Name)
			assert.Equal(t, []string{"loss", "mse", "mae", "pearson", "spearman"}, score.Names())
			assert.InEpsilon(t, 1+c.MSE, 1+score.Value("mse"), 1e-12, c.Name)
			assert.InEpsilon(t, 1+c.MAE, 1+score.Value("mae"), 1e-12, c.Name)
			assert.InEpsilon(t, 1+c.MSE, 1+score.Loss, 1e-12, c.Name)
			correlation(c.Pearson, score.Value("pearson"), c.Name+": pearson")
			correlation(c.Spearman, score.Value("spearman"), c.Name+": spearman")
			assert.Nil(t, score.Classes)
		}
	}
	assert.NotZero(t, undefined)
}

// The metrics that were always reported keep their last digit: tables of old and new runs compare equal.
func TestDefaultsKeepTheirLastDigit(t *testing.T) {
	for i := range 200 {
		in := makeClasses(i, "plain")
		counts := CountClasses(in.truth, in.predicted, in.classes)
		macro := 0.0
		for k := range in.classes {
			both := counts.Support[k] + counts.Predicted[k]
			macro += 2 * float64(counts.Hits[k]) / float64(max(both, 1)) / float64(in.classes)
		}
		assert.Equal(t, macro, counts.F1(Macro))

		y, x := makeNumbers(i, "plain")
		squares, absolute := 0.0, 0.0
		for j := range x {
			d := x[j] - y[j]
			squares, absolute = squares+d*d/float64(len(x)), absolute+math.Abs(d)/float64(len(x))
		}
		assert.Equal(t, []float64{squares, absolute}, []float64{MSE(y, x), MAE(y, x)})
		assert.Equal(t, Pearson(x, y), Pearson(y, x))
		assert.Equal(t, Spearman(x, y), Spearman(y, x))
	}
}
