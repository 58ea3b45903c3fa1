package metric

import (
	"encoding/json"
	"math"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
)

// SciPy draws other rows: with 4,000 resamples each, bounds differ by the noise of a quantile, which is below a tenth
// of an interval's width.
func TestIntervalsEqualThoseOfSciPy(t *testing.T) {
	b := Bootstrap{Resamples: 4000, Seed: 1}
	compared := 0
	for _, golden := range goldenOf(t).Intervals {
		var i int
		require.NoError(t, json.Unmarshal(golden["case"], &i))
		compare := func(name string, rows int, s Statistic) {
			var want [2]*float64
			require.NoError(t, json.Unmarshal(golden[name], &want))
			if want[0] == nil {
				return
			}
			compared++
			got, noise := b.Interval(rows, s), (*want[1]-*want[0])/10
			assert.InDelta(t, *want[0], got.Low, noise, "%s of case %d", name, i)
			assert.InDelta(t, *want[1], got.High, noise, "%s of case %d", name, i)
			assert.Zero(t, got.Undefined)
		}
		if golden["r2"] != nil {
			truth, predicted := makeNumbers(i, goldenOf(t).Numbers[i].Kind)
			compare("spearman", len(truth), SpearmanOf(truth, predicted))
			compare("r2", len(truth), R2Of(truth, predicted))
			continue
		}
		in := makeClasses(i, goldenOf(t).Classes[i].Kind)
		compare("accuracy", len(in.truth), CountsOf(in.truth, in.predicted, in.classes, (*Counts).Accuracy))
		truth, scores := matrix{in.classes, OneHot(in.truth, in.classes), in.probabilities}.column(0)
		compare("first_auroc", len(in.truth), AUROCOf(truth, scores))
	}
	assert.Equal(t, 7, compared)
}

// A metric of resamples is that of rows which are there several times.
func TestStatisticsCountRowsSeveralTimes(t *testing.T) {
	for i := range 8 { // all kinds
		kind := goldenOf(t).Classes[i].Kind
		in := makeClasses(i, kind)
		d, times := draw(99), make([]int32, len(in.truth))
		again := classCase{classes: in.classes}
		for row := range times {
			times[row] = int32(d.below(3))
			for range times[row] {
				again.truth, again.predicted = append(again.truth, in.truth[row]), append(again.predicted, in.predicted[row])
				again.probabilities = append(again.probabilities, in.probabilities[row*in.classes:(row+1)*in.classes]...)
			}
		}
		same := func(name string, of func(c classCase) Statistic) {
			want, got := of(again)(nil), of(in)(times)
			if math.IsNaN(want) {
				assert.True(t, math.IsNaN(got), "%s, %s: %v", kind, name, got)
				return
			}
			assert.InDelta(t, want, got, 1e-12, "%s, %s", kind, name)
		}
		same("matthews", func(c classCase) Statistic { return CountsOf(c.truth, c.predicted, c.classes, (*Counts).Matthews) })
		same("log loss", func(c classCase) Statistic { return LogLossOf(c.truth, c.probabilities, c.classes) })
		same("brier", func(c classCase) Statistic { return BrierOf(c.truth, c.probabilities, c.classes) })
		same("top 2", func(c classCase) Statistic { return TopKOf(c.truth, c.probabilities, c.classes, 2) })
		for _, a := range []Average{Macro, Micro, Weighted} {
			same("auroc, "+string(a), func(c classCase) Statistic {
				return LabelAUROCOf(OneHot(c.truth, c.classes), c.probabilities, c.classes, a)
			})
			same("average precision, "+string(a), func(c classCase) Statistic {
				return LabelAveragePrecisionOf(OneHot(c.truth, c.classes), c.probabilities, c.classes, a)
			})
		}
		same("calibration error", func(c classCase) Statistic {
			var confidences []float64
			correct := make([]bool, len(c.truth))
			for row := range c.truth {
				confidences = append(confidences, c.probabilities[row*c.classes+c.predicted[row]])
				correct[row] = c.truth[row] == c.predicted[row]
			}
			return CalibrationErrorOf(confidences, correct, CalibrationBins)
		})
		numbers := func(of func(x, y []float64) Statistic) func(c classCase) Statistic {
			return func(c classCase) Statistic {
				x, y := make([]float64, len(c.truth)), make([]float64, len(c.truth))
				for row := range x {
					x[row], y[row] = float64(c.truth[row]), c.probabilities[row*c.classes]
				}
				return of(x, y)
			}
		}
		same("mse", numbers(MSEOf))
		same("rmse", numbers(RMSEOf))
		same("mae", numbers(MAEOf))
		same("r2", numbers(R2Of))
		same("pearson", numbers(PearsonOf))
		same("spearman", numbers(SpearmanOf))
	}
}

func TestBootstrap(t *testing.T) {
	values := []float64{0, 0, 1, 1, 1, 0, 1, 1, 1, 1}
	one := Bootstrap{Seed: 3}.Interval(len(values), MeanOf(values))
	before := runtime.GOMAXPROCS(1)
	two := Bootstrap{Seed: 3, Resamples: 1000, Level: 0.95}.Interval(len(values), MeanOf(values))
	runtime.GOMAXPROCS(before)
	assert.Equal(t, one, two, "the same seed draws the same rows on any number of cores, and the defaults are 1,000 and 0.95")
	assert.NotEqual(t, Bootstrap{Seed: 3, Resamples: 40}.Interval(10, MeanOf(values)), Bootstrap{Seed: 4, Resamples: 40}.Interval(10, MeanOf(values)))
	narrow := Bootstrap{Seed: 3, Level: 0.5}.Interval(len(values), MeanOf(values))
	assert.Less(t, one.Low, narrow.Low)
	assert.Greater(t, one.High, narrow.High)

	truth := []bool{true, false, false}
	undefined := Bootstrap{Seed: 1, Resamples: 3000}.Interval(3, AUROCOf(truth, []float64{3, 2, 1}))
	assert.InDelta(t, 3000*(8./27+1./27), undefined.Undefined, 120, "of three rows all are negative in 8 of 27 cases, and positive in one")
	assert.Equal(t, 1.0, undefined.Low)
	assert.Equal(t, "1.0000 to 1.0000", undefined.String())
	never := Bootstrap{}.Interval(2, AUROCOf([]bool{true, true}, []float64{1, 2}))
	assert.True(t, math.IsNaN(never.Low) && math.IsNaN(never.High))
	assert.Equal(t, 1000, never.Undefined)
}

// The interval of a share covers the true share about as often as it says: 95 of 100 times, or a little less, as the
// percentile interval is known to (Efron and Tibshirani 1993, 13.3).
func TestIntervalsCover(t *testing.T) {
	const samples, rows, share = 400, 100, 70
	d, covered := draw(5), 0
	for i := range samples {
		values := make([]float64, rows)
		for row := range values {
			if d.below(100) < share {
				values[row] = 1
			}
		}
		interval := Bootstrap{Resamples: 400, Seed: uint64(i)}.Interval(rows, MeanOf(values))
		if interval.Low <= share/100. && share/100. <= interval.High {
			covered++
		}
	}
	assert.InDelta(t, 0.945, float64(covered)/samples, 0.035)
}

func TestQuantile(t *testing.T) {
	// numpy.quantile([1, 2, 4, 8], [0, 0.1, 0.5, 0.9, 1])
	for q, want := range map[float64]float64{0: 1, 0.1: 1.3, 0.5: 3, 0.9: 6.8, 1: 8} {
		assert.InDelta(t, want, quantile([]float64{1, 2, 4, 8}, q), 1e-12)
	}
}

// Each kind of metric gives intervals that hold its values, and a score with intervals is read back.
func TestScoresWithIntervals(t *testing.T) {
	rows := make([]float32, 0, 80)
	classes, labels := make([]int, 0, 40), make([]float32, 0, 80)
	d := draw(7)
	for range 40 {
		a, b := d.below(100), d.below(100)
		rows = append(rows, float32(a-50)/20, float32(b-50)/20)
		class := 0
		if b+d.below(40) > a+20 {
			class = 1
		}
		classes, labels = append(classes, class), append(labels, bit(a > 40+d.below(20)), bit(b > 40+d.below(20)))
	}
	for name, c := range map[string]struct {
		make   func(o Options) (Metric, error)
		names  []string
		width  int
		target func(from, to int) torch.Tensor
	}{
		"classes": {func(o Options) (Metric, error) { return o.Classification([]string{"a", "b"}) }, nil, 2,
			func(from, to int) torch.Tensor { return torch.FromSlice(classes[from:to]) }},
		"all of classes": {func(o Options) (Metric, error) { return o.Classification(nil) },
			[]string{"auroc", "log_loss", "brier", "calibration_error", "top_1_accuracy", "f1", "kappa", "average_precision"}, 2,
			func(from, to int) torch.Tensor { return torch.FromSlice(classes[from:to]) }},
		"labels": {func(o Options) (Metric, error) { return o.MultiLabel(nil, 0.5) }, MultiLabelNames(), 2,
			func(from, to int) torch.Tensor { return torch.FromSlice(labels[2*from:2*to], to-from, 2) }},
		"numbers": {func(o Options) (Metric, error) { return o.Regression() }, RegressionNames(), 1,
			func(from, to int) torch.Tensor { return torch.FromSlice(labels[from:to]) }},
	} {
		m, err := c.make(Options{Names: c.names, Intervals: &Bootstrap{Resamples: 200, Seed: 1}})
		require.NoError(t, err)
		score := scoreOf(t, m, 40, 7, func(from, to int) (torch.Tensor, torch.Tensor) {
			return torch.FromSlice(rows[from*c.width:to*c.width], to-from, c.width), c.target(from, to)
		})
		require.Len(t, score.Intervals, len(score.Values), name)
		for _, v := range score.Values {
			interval := score.Intervals[v.Name]
			slack := 0.0 // bins make the calibration error of a resample higher than that of the rows
			if v.Name == "calibration_error" {
				slack = 0.1
			}
			assert.True(t, interval.Low-slack <= v.Value && v.Value <= interval.High, "%s: %s: %v and %v", name, v.Name, v.Value, interval)
			if v.Name != "top_1_accuracy" {
				assert.Less(t, interval.Low, interval.High, "%s: %s", name, v.Name)
			}
		}
		text, err := json.Marshal(score)
		require.NoError(t, err)
		var again Score
		require.NoError(t, json.Unmarshal(text, &again))
		assert.Len(t, again.Intervals, len(score.Values), name)
		assert.Equal(t, score.Intervals[score.Values[0].Name].High, again.Intervals[score.Values[0].Name].High)
	}
	text, err := json.Marshal(Interval{math.NaN(), math.NaN(), 3})
	require.NoError(t, err)
	assert.Equal(t, "[null,null]", string(text))
	var undefined Interval
	require.NoError(t, json.Unmarshal(text, &undefined))
	assert.True(t, math.IsNaN(undefined.Low))
}

// BenchmarkIntervals is 1,000 resamples of 100,000 rows, for each metric.
func BenchmarkIntervals(b *testing.B) {
	const rows, classes = 100_000, 4
	truth, predicted, positive := make([]int, rows), make([]int, rows), make([]bool, rows)
	scores, d := make([]float64, rows), draw(1)
	for i := range truth {
		truth[i], predicted[i], scores[i] = d.below(classes), d.below(classes), float64(d.below(1_000_000))
		positive[i] = d.below(1_000_000) < int(scores[i])
	}
	for name, s := range map[string]Statistic{
		"accuracy": MeanOf(scores), "macro_f1": CountsOf(truth, predicted, classes, func(c *Counts) float64 { return c.F1(Macro) }),
		"auroc": AUROCOf(positive, scores), "average_precision": AveragePrecisionOf(positive, scores), "spearman": SpearmanOf(scores, scores),
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				began := time.Now()
				Bootstrap{}.Interval(rows, s)
				b.ReportMetric(time.Since(began).Seconds(), "s/interval")
			}
		})
	}
}
