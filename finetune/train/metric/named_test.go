package metric

import (
	"encoding/json"
	"math"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/torchtest"
)

// namedGoldens is what testdata/named.py writes.
type namedGoldens struct {
	Classes, Labels, Numbers []namedCase
	Intervals                []map[string]json.RawMessage
}

type namedCase struct {
	Kind   string
	Values map[string]*float64 // nil: NaN
	Each   struct{ Precision, Recall, F1 []float64 }
}

// tolerance is between what Thaw and NumPy compute in float64: both sum up to 300 terms, in another order, which is
// wrong by less than 300 times 2^-53 of the sum; where a difference of two sums is divided by, that is up to a thousand
// times as much. An error of a formula, or of a single row, is 1e-4 and more.
const tolerance = 1e-9

func (c namedCase) compare(t *testing.T, i int, got map[string]float64) {
	t.Helper()
	for name, want := range c.Values {
		value, ok := got[name]
		require.True(t, ok, "case %d, %s: %s is not measured", i, c.Kind, name)
		if want == nil {
			assert.True(t, math.IsNaN(value), "case %d, %s: %s is %v", i, c.Kind, name, value)
			continue
		}
		assert.InDelta(t, *want, value, tolerance*max(1, math.Abs(*want)), "case %d, %s: %s", i, c.Kind, name)
	}
}

func (c namedCase) compareEach(t *testing.T, i int, counts *Counts) {
	t.Helper()
	for class := range counts.Support {
		got := []float64{counts.ClassPrecision(class), counts.ClassRecall(class), counts.ClassF1(class)}
		want := []float64{c.Each.Precision[class], c.Each.Recall[class], c.Each.F1[class]}
		assert.InDeltaSlice(t, want, got, tolerance, "case %d, %s: class %d", i, c.Kind, class)
	}
}

// draw is SplitMix64 (Steele et al. 2014), as in testdata/named.py.
type draw uint64

func (d *draw) below(n int) int {
	*d += 0x9E3779B97F4A7C15
	z := uint64(*d)
	z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9
	z = (z ^ (z >> 27)) * 0x94D049BB133111EB
	return int((z ^ (z >> 31)) % uint64(n))
}

type classCase struct {
	classes          int
	truth, predicted []int
	probabilities    []float64
}

// makeClasses makes a case as class_case of testdata/named.py makes the case.
func makeClasses(i int, kind string) (c classCase) {
	d := draw(i + 1)
	rows := 5 + d.below(296)
	c.classes = 2 + d.below(11)
	for range rows {
		t := d.below(c.classes)
		switch {
		case kind == "an absent class":
			t = d.below(c.classes - 1)
		case kind == "one class only":
			t = c.classes / 2
		case kind == "unbalanced" && d.below(10) > 0:
			t = 0
		}
		spread, boost := 97, 150
		if kind == "ties" {
			spread, boost = 3, 3
		}
		w := make([]float64, c.classes)
		for k := range w {
			w[k] = float64(1 + d.below(spread))
		}
		w[t] += float64(d.below(boost))
		switch kind {
		case "perfect":
			w[t] += 1000
		case "constant predictions":
			for k := range w {
				w[k] = float64(k + 1)
			}
		case "certain":
			clear(w)
			if d.below(4) > 0 {
				w[t] = 1
			} else {
				w[d.below(c.classes)] = 1
			}
		}
		sum := 0.0
		for _, x := range w {
			sum += x
		}
		for _, x := range w {
			c.probabilities = append(c.probabilities, x/sum)
		}
		c.truth = append(c.truth, t)
		c.predicted = append(c.predicted, slices.Index(w, slices.Max(w)))
	}
	return c
}

// makeLabels makes a case as label_case does.
func makeLabels(i int, kind string) (labels int, truth []bool, scores []float64) {
	d := draw(1000 + i)
	rows := 5 + d.below(296)
	labels = 2 + d.below(7)
	of := 997
	if kind == "ties" {
		of = 4
	}
	for range rows {
		for k := range labels {
			share := 40
			if kind == "rare" {
				share = 5
			}
			t := d.below(100) < share
			s := d.below(of)
			switch {
			case kind == "an absent label" && k == labels-1, kind == "nothing true":
				t = false
			case kind == "a label of all" && k == 0:
				t = true
			}
			switch {
			case kind == "perfect":
				if s /= 2; t {
					s += (of + 1) / 2
				}
			case kind == "constant scores":
				s = k * 100
			case t && d.below(3) > 0:
				s = (s + of) / 2
			}
			truth, scores = append(truth, t), append(scores, float64(s)/float64(of))
		}
	}
	return labels, truth, scores
}

// makeNumbers makes a case as number_case does.
func makeNumbers(i int, kind string) (truth, predicted []float64) {
	d := draw(2000 + i)
	rows := 5 + d.below(296)
	if kind == "two rows" {
		rows = 2
	}
	for range rows {
		var y, p int
		if kind == "ties" {
			y = d.below(5)
			p = d.below(4)
		} else {
			y = d.below(2001) - 1000
			p = y + d.below(801) - 400
		}
		switch kind {
		case "constant targets":
			y = 3
		case "constant predictions":
			p = 5
		case "perfect":
			p = y
		case "falling":
			p = -2 * y
		case "far from 0":
			y, p = y+8_000_000, p+8_000_000
		}
		truth, predicted = append(truth, float64(y)/8), append(predicted, float64(p)/8)
	}
	return truth, predicted
}

func goldenOf(t *testing.T) namedGoldens {
	info, err := os.Stat("testdata/named.json.gz")
	require.NoError(t, err)
	require.Less(t, info.Size(), int64(400_000))
	return torchtest.Golden[namedGoldens](t, "named.json.gz")
}

// measureClasses calls the function of each name.
func measureClasses(in classCase) (map[string]float64, *Counts) {
	counts := CountClasses(in.truth, in.predicted, in.classes)
	got := map[string]float64{
		"accuracy": counts.Accuracy(), "balanced_accuracy": counts.BalancedAccuracy(),
		"matthews": counts.Matthews(), "kappa": counts.Kappa(),
		"precision": counts.ClassPrecision(1), "recall": counts.ClassRecall(1), "f1": counts.ClassF1(1),
		"log_loss":          LogLoss(in.truth, in.probabilities, in.classes),
		"brier":             Brier(in.truth, in.probabilities, in.classes),
		"calibration_error": CalibrationError(in.truth, in.probabilities, in.classes, CalibrationBins),
		"top_2_accuracy":    TopK(in.truth, in.probabilities, in.classes, 2),
		"top_3_accuracy":    TopK(in.truth, in.probabilities, in.classes, 3),
	}
	for _, a := range []Average{Macro, Micro, Weighted} {
		got[string(a)+"_f1"], got[string(a)+"_precision"] = counts.F1(a), counts.Precision(a)
		got[string(a)+"_recall"] = counts.Recall(a)
	}
	if onehot := OneHot(in.truth, in.classes); in.classes == 2 {
		truth, scores := matrix{2, onehot, in.probabilities}.column(1)
		got["auroc"], got["average_precision"] = AUROC(truth, scores), AveragePrecision(truth, scores)
		got["weighted_auroc"], got["weighted_average_precision"] = got["auroc"], got["average_precision"]
	} else {
		got["auroc"] = LabelAUROC(onehot, in.probabilities, in.classes, Macro)
		got["weighted_auroc"] = LabelAUROC(onehot, in.probabilities, in.classes, Weighted)
		got["average_precision"] = LabelAveragePrecision(onehot, in.probabilities, in.classes, Macro)
		got["weighted_average_precision"] = LabelAveragePrecision(onehot, in.probabilities, in.classes, Weighted)
	}
	return got, counts
}

// measureLabels calls the function of each name.
func measureLabels(labels int, truth []bool, given []float64, threshold float64) (map[string]float64, *Counts) {
	s := scores{labels: labels}
	for j := range truth {
		s.truth, s.predicted = append(s.truth, bit(truth[j])), append(s.predicted, bit(given[j] > threshold))
	}
	counts := s.count(slices.Repeat([]int32{1}, len(truth)/labels))
	got := map[string]float64{"subset_accuracy": counts.subsetAccuracy(), "hamming_loss": counts.hammingLoss()}
	for prefix, a := range map[string]Average{"": Macro, "weighted_": Weighted, "micro_": Micro} {
		got[string(a)+"_f1"], got[string(a)+"_precision"] = counts.F1(a), counts.Precision(a)
		got[string(a)+"_recall"] = counts.Recall(a)
		got[prefix+"auroc"] = LabelAUROC(truth, given, labels, a)
		got[prefix+"average_precision"] = LabelAveragePrecision(truth, given, labels, a)
	}
	return got, counts.Counts
}

// measureNumbers calls the function of each name.
func measureNumbers(truth, predicted []float64) map[string]float64 {
	return map[string]float64{
		"mse": MSE(truth, predicted), "rmse": RMSE(truth, predicted), "mae": MAE(truth, predicted), "r2": R2(truth, predicted),
		"pearson": Pearson(truth, predicted), "spearman": Spearman(truth, predicted),
	}
}

func TestMetricsOfClassesEqualScikitLearn(t *testing.T) {
	cases := goldenOf(t).Classes
	require.Len(t, cases, 200)
	for i, c := range cases {
		in := makeClasses(i, c.Kind)
		got, counts := measureClasses(in)
		c.compare(t, i, got)
		c.compareEach(t, i, counts)
		assert.Equal(t, counts.Accuracy(), TopK(in.truth, in.probabilities, in.classes, 1), "of equal scores argmax and TopK take the same")
	}
}

func TestMetricsOfLabelsEqualScikitLearn(t *testing.T) {
	cases := goldenOf(t).Labels
	require.Len(t, cases, 200)
	for i, c := range cases {
		labels, truth, given := makeLabels(i, c.Kind)
		got, counts := measureLabels(labels, truth, given, 0.5)
		c.compare(t, i, got)
		c.compareEach(t, i, counts)
	}
}

func TestMetricsOfNumbersEqualScikitLearnAndSciPy(t *testing.T) {
	cases := goldenOf(t).Numbers
	require.Len(t, cases, 200)
	for i, c := range cases {
		truth, predicted := makeNumbers(i, c.Kind)
		c.compare(t, i, measureNumbers(truth, predicted))
	}
}

// What a metric.Metric reports by name is what the functions give of the logits' softmax, in batches of any size.
func TestNamedMetricsEqualTheFunctions(t *testing.T) {
	g := goldenOf(t)
	kind := func(of namedCase) string { return of.Kind }
	for i := 0; i < 200; i += 9 { // all kinds
		size := batchSizes[i%len(batchSizes)]
		in := makeClasses(i, kind(g.Classes[i]))
		names := slices.DeleteFunc(ClassificationNames(), func(name string) bool {
			return name == topKListed || in.classes > 2 && slices.Contains([]string{"precision", "recall", "f1"}, name)
		})
		if in.classes > 3 {
			names = append(names, "top_2_accuracy", "top_3_accuracy")
		}
		m, err := Options{Names: names}.Classification(nil)
		require.NoError(t, err)
		logits := make([]float32, len(in.probabilities))
		for j, p := range in.probabilities {
			logits[j] = float32(math.Log(max(p, 1e-30)))
		}
		score := scoreOf(t, m, len(in.truth), size, func(from, to int) (torch.Tensor, torch.Tensor) {
			return torch.FromSlice(logits[from*in.classes:to*in.classes], to-from, in.classes), torch.FromSlice(in.truth[from:to])
		})
		for from := 0; from < len(logits); from += in.classes {
			row := logits[from : from+in.classes]
			highest, sum := float64(slices.Max(row)), 0.0
			for _, x := range row {
				sum += math.Exp(float64(x) - highest)
			}
			for k, x := range row { // a softmax that rounds otherwise would break ties otherwise
				in.probabilities[from+k] = math.Exp(float64(x) - (highest + math.Log(sum)))
			}
		}
		want, _ := measureClasses(in)
		compareNamed(t, kind(g.Classes[i]), names, want, score)

		labels, truth, given := makeLabels(i, kind(g.Labels[i]))
		m, err = Options{Names: MultiLabelNames()}.MultiLabel(nil, 0.5)
		require.NoError(t, err)
		logits = nil
		var bits []float32
		for j, p := range given {
			p = max(p, 1e-9)
			logits, bits = append(logits, float32(math.Log(p/(1-p)))), append(bits, bit(truth[j]))
			given[j] = float64(logits[j])
		}
		score = scoreOf(t, m, len(truth)/labels, size, func(from, to int) (torch.Tensor, torch.Tensor) {
			from, to = from*labels, to*labels
			return torch.FromSlice(logits[from:to], (to-from)/labels, labels), torch.FromSlice(bits[from:to], (to-from)/labels, labels)
		})
		want, _ = measureLabels(labels, truth, given, 0)
		compareNamed(t, kind(g.Labels[i]), MultiLabelNames(), want, score)

		y, predicted := makeNumbers(i, kind(g.Numbers[i]))
		m, err = Options{Names: RegressionNames()}.Regression()
		require.NoError(t, err)
		score = scoreOf(t, m, len(y), size, func(from, to int) (torch.Tensor, torch.Tensor) {
			return torch.FromSlice(predicted[from:to], to-from, 1).To(torch.Float32), torch.FromSlice(y[from:to]).To(torch.Float32)
		})
		compareNamed(t, kind(g.Numbers[i]), RegressionNames(), measureNumbers(y, predicted), score)
	}
}

// compareNamed compares a score with what the functions gave.
func compareNamed(t *testing.T, kind string, names []string, want map[string]float64, score Score) {
	t.Helper()
	require.Equal(t, append([]string{"loss"}, names...), score.Names())
	for _, name := range names {
		got := score.Value(name)
		require.Contains(t, want, name)
		if math.IsNaN(want[name]) {
			assert.True(t, math.IsNaN(got), "%s: %s is %v", kind, name, got)
			continue
		}
		assert.InDelta(t, want[name], got, tolerance*max(1, math.Abs(want[name])), "%s: %s", kind, name)
	}
}

func bit(b bool) float32 {
	if b {
		return 1
	}
	return 0
}
