package metric

import (
	"cmp"
	"math"
	"slices"
)

// The metrics here compare predicted numbers with true ones. Without rows errors are 0, and the others NaN.

// MSE is the mean squared error.
func MSE(truth, predicted []float64) float64 { return MSEOf(truth, predicted)(nil) }

// MSEOf is MSE for resamples.
func MSEOf(truth, predicted []float64) Statistic {
	return errorOf(truth, predicted, func(d float64) float64 { return d * d })
}

// RMSE is the root of the mean squared error, in the unit of the numbers.
func RMSE(truth, predicted []float64) float64 { return RMSEOf(truth, predicted)(nil) }

// RMSEOf is RMSE for resamples.
func RMSEOf(truth, predicted []float64) Statistic {
	of := MSEOf(truth, predicted)
	return func(times []int32) float64 { return math.Sqrt(of(times)) }
}

// MAE is the mean absolute error.
func MAE(truth, predicted []float64) float64 { return MAEOf(truth, predicted)(nil) }

// MAEOf is MAE for resamples.
func MAEOf(truth, predicted []float64) Statistic {
	return errorOf(truth, predicted, math.Abs)
}

// R2 is the coefficient of determination, 1 less the squared errors as a share of the squared deviations of the true
// numbers from their mean (scikit-learn's r2_score): 1 is perfect, 0 is as good as predicting the mean, and there is no
// lower bound. Where all true numbers are equal it is 1 if all predictions are right and else 0, also where their mean
// is rounded, which scikit-learn answers with -1e30 or so; NaN below two rows.
func R2(truth, predicted []float64) float64 { return R2Of(truth, predicted)(nil) }

// R2Of is R2 for resamples.
func R2Of(truth, predicted []float64) Statistic {
	return func(times []int32) float64 {
		rows, total := 0, 0.0
		for i, y := range truth {
			n := timesOf(times, i)
			rows, total = rows+n, total+float64(n)*y
		}
		if rows < 2 {
			return math.NaN()
		}
		mean, errors, deviations := total/float64(rows), 0.0, 0.0
		for i, y := range truth {
			n, e, d := float64(timesOf(times, i)), y-predicted[i], y-mean
			errors, deviations = errors+n*e*e, deviations+n*d*d
		}
		if constant(truth, times) { // the mean of equal numbers may differ from them in the last digit
			if errors == 0 {
				return 1
			}
			return 0
		}
		return 1 - errors/deviations
	}
}

// Pearson is the correlation coefficient of two lists (SciPy's pearsonr); NaN where one of them is constant.
func Pearson(x, y []float64) float64 { return PearsonOf(x, y)(nil) }

// PearsonOf is Pearson for resamples.
func PearsonOf(x, y []float64) Statistic {
	return func(times []int32) float64 { return pearson(x, y, times) }
}

// Spearman is Pearson of the ranks, where equal numbers have the mean of their ranks (SciPy's spearmanr); NaN where one
// of the lists is constant.
func Spearman(x, y []float64) float64 { return SpearmanOf(x, y)(nil) }

// SpearmanOf is Spearman for resamples: the numbers are sorted once.
func SpearmanOf(x, y []float64) Statistic {
	ofX, ofY := sortNumbers(x), sortNumbers(y)
	return func(times []int32) float64 { return pearson(ofX.ranks(times), ofY.ranks(times), times) }
}

// errorOf is the mean of a function of the rows' differences. Of all rows, once each, it is summed up as it always was:
// the last digit of an old run's mse stays.
func errorOf(truth, predicted []float64, of func(float64) float64) Statistic {
	errors := make([]float64, len(truth))
	for i, y := range truth {
		errors[i] = of(predicted[i] - y)
	}
	mean := MeanOf(errors)
	return func(times []int32) (sum float64) {
		if times != nil {
			return mean(times)
		}
		for _, e := range errors {
			sum += e / float64(len(errors))
		}
		return sum
	}
}

func pearson(x, y []float64, times []int32) float64 {
	if constant(x, times) || constant(y, times) {
		return math.NaN()
	}
	mean := func(of []float64) float64 {
		sum, rows := 0.0, 0
		for i, v := range of {
			n := timesOf(times, i)
			sum, rows = sum+float64(n)*v, rows+n
		}
		return sum / float64(rows)
	}
	mx, my := mean(x), mean(y)
	var xy, xx, yy float64
	for i := range x {
		n, dx, dy := float64(timesOf(times, i)), x[i]-mx, y[i]-my
		xy, xx, yy = xy+n*(dx*dy), xx+n*(dx*dx), yy+n*(dy*dy)
	}
	return max(-1, min(1, xy/math.Sqrt(xx*yy)))
}

// constant reports whether the numbers that count are all equal.
func constant(values []float64, times []int32) bool {
	first := -1
	for i, v := range values {
		switch {
		case timesOf(times, i) == 0:
		case first < 0:
			first = i
		case v != values[first]:
			return false
		}
	}
	return true
}

// numbers are in rising order.
type numbers struct {
	values []float64
	order  []int
}

func sortNumbers(values []float64) numbers {
	order := make([]int, len(values))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(values[a], values[b]) })
	return numbers{values, order}
}

// ranks gives each number its place from 1, equal ones the mean of theirs.
func (n numbers) ranks(times []int32) []float64 {
	out := make([]float64, len(n.values))
	below := 0
	for i := 0; i < len(n.order); {
		j, count := i, 0
		for ; j < len(n.order) && (j == i || n.values[n.order[j]] == n.values[n.order[i]]); j++ {
			count += timesOf(times, n.order[j])
		}
		for _, k := range n.order[i:j] {
			out[k] = float64(below) + float64(count+1)/2
		}
		i, below = j, below+count
	}
	return out
}
