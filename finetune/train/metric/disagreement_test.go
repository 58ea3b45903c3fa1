package metric

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
)

// The column "Thaw" of the table in docs/guide/metrics.md, whose other columns testdata/disagreements.py prints.
func TestWhereTheLibrariesDisagree(t *testing.T) {
	nan := math.NaN()
	count := func(truth, predicted []int, classes int) *Counts { return CountClasses(truth, predicted, classes) }
	ones, zeros := []int{1, 1, 1, 1}, []int{0, 0, 0, 0}
	scores, yes, no := []float64{0.1, 0.4, 0.35, 0.8}, []bool{true, true, true, true}, make([]bool, 4)
	three := []float64{.7, .2, .1, .5, .3, .2, .2, .6, .2, .3, .4, .3}
	absent := OneHot([]int{0, 0, 1, 1}, 3)
	labels, none := []float64{.9, .1, .3, .2, .5, .4}, make([]bool, 6)
	one := []bool{true, false, true, false, false, false}
	equal := []float64{1. / 3, 1. / 3, 1. / 3}
	for _, c := range []struct {
		what      string
		want, got float64
	}{
		{"macro F1, an absent class", 22. / 45, count([]int{0, 0, 1, 1}, []int{0, 1, 1, 1}, 3).F1(Macro)},
		{"balanced accuracy", 0.75, count([]int{0, 0, 1, 1}, []int{0, 2, 1, 1}, 3).BalancedAccuracy()},
		{"macro recall", 0.5, count([]int{0, 0, 1, 1}, []int{0, 2, 1, 1}, 3).Recall(Macro)},
		{"Matthews, all right", 0, count(ones, ones, 2).Matthews()},
		{"Matthews, all wrong", 0, count(ones, zeros, 2).Matthews()},
		{"Matthews, all predicted 1", 0, count([]int{0, 0, 0, 1}, ones, 2).Matthews()},
		{"kappa", nan, count(ones, ones, 2).Kappa()},
		{"AUROC, all positive", nan, AUROC(yes, scores)},
		{"AUROC, none positive", nan, AUROC(no, scores)},
		{"average precision, all positive", 1, AveragePrecision(yes, scores)},
		{"average precision, none positive", 0, AveragePrecision(no, scores)},
		{"macro AUROC, an absent class", nan, LabelAUROC(absent, three, 3, Macro)},
		{"weighted AUROC, an absent class", 1, LabelAUROC(absent, three, 3, Weighted)},
		{"macro average precision, an absent class", 2. / 3, LabelAveragePrecision(absent, three, 3, Macro)},
		{"weighted average precision, an absent class", 1, LabelAveragePrecision(absent, three, 3, Weighted)},
		{"macro AUROC, an absent label", nan, LabelAUROC(one, labels, 2, Macro)},
		{"weighted AUROC, an absent label", 0.5, LabelAUROC(one, labels, 2, Weighted)},
		{"weighted AUROC, no label", 0, LabelAUROC(none, labels, 2, Weighted)},
		{"top 1, class 0", 1, TopK([]int{0}, equal, 3, 1)},
		{"top 1, class 2", 0, TopK([]int{2}, equal, 3, 1)},
		{"top 2, class 0", 1, TopK([]int{0}, equal, 3, 2)},
		{"top 2, class 2", 0, TopK([]int{2}, equal, 3, 2)},
		{"log loss, wrong with certainty", 18.36840028483855, LogLoss([]int{1, 0}, []float64{1, 0, .5, .5}, 2)},
		{"Spearman, constant", nan, Spearman([]float64{3, 3, 3}, []float64{1, 2, 3})},
		{"R2, one row", nan, R2([]float64{3}, []float64{3})},
		{"R2, constant, right", 1, R2([]float64{.1, .1, .1}, []float64{.1, .1, .1})},
		{"R2, constant, wrong", 0, R2([]float64{.1, .1, .1}, []float64{.5, .5, .5})},
		{"calibration error, 11/15", 77. / 150, CalibrationError([]int{1, 0}, []float64{4. / 15, 11. / 15, .24, .76}, 2, 15)},
		{"calibration error, 1", 0.48, CalibrationError([]int{1, 0}, []float64{0, 1, .04, .96}, 2, 15)},
		{"calibration error, no probabilities", nan, CalibrationError([]int{1}, []float64{-1, 2}, 2, 15)},
	} {
		if math.IsNaN(c.want) {
			assert.True(t, math.IsNaN(c.got), "%s: %v", c.what, c.got)
			continue
		}
		assert.InDelta(t, c.want, c.got, 1e-12, c.what)
	}
}
