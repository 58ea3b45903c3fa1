package metric

import "math"

// The metrics here read probabilities [rows, classes], row by row, and class numbers. NaN without rows.

// eps is what scikit-learn's log_loss keeps probabilities away from 0 and 1: numpy.finfo(float64).eps.
const eps = 0x1p-52

// LogLoss is the mean of -log of the probability of each row's class, which is kept in [2.2e-16, 1-2.2e-16] so that one
// row that is wrong with certainty does not make the mean infinite (scikit-learn's log_loss). Rows are taken as they
// are, whether they sum to one or not.
func LogLoss(truth []int, probabilities []float64, classes int) float64 {
	return LogLossOf(truth, probabilities, classes)(nil)
}

// LogLossOf is LogLoss for resamples.
func LogLossOf(truth []int, probabilities []float64, classes int) Statistic {
	return MeanOf(eachRow(truth, probabilities, classes, func(row []float64, class int) float64 {
		return logLoss(row[class])
	}))
}

func logLoss(probability float64) float64 { return -math.Log(max(eps, min(1-eps, probability))) }

// Brier is the mean of the squared differences between a row's probabilities and 1 for its class, 0 for the others,
// summed over the classes (Brier 1950); of two classes half of that, which is the squared error of the second one's
// probability (scikit-learn's brier_score_loss with scale_by_half="auto").
func Brier(truth []int, probabilities []float64, classes int) float64 {
	return BrierOf(truth, probabilities, classes)(nil)
}

// BrierOf is Brier for resamples.
func BrierOf(truth []int, probabilities []float64, classes int) Statistic {
	return MeanOf(eachRow(truth, probabilities, classes, func(row []float64, class int) (sum float64) {
		for k, p := range row {
			if k == class {
				p -= 1
			}
			sum += p * p
		}
		return sum * brierScale(classes)
	}))
}

func brierScale(classes int) float64 {
	if classes <= 2 {
		return 0.5
	}
	return 1
}

// TopK is the share of rows whose class is among the k with the highest scores. Of equal scores that of the lower class
// number is the higher one, as in argmax, so that TopK of 1 is the accuracy; scikit-learn's top_k_accuracy_score takes
// the higher class number, and differs where there are ties.
func TopK(truth []int, scores []float64, classes, k int) float64 {
	return TopKOf(truth, scores, classes, k)(nil)
}

// TopKOf is TopK for resamples.
func TopKOf(truth []int, scores []float64, classes, k int) Statistic {
	return MeanOf(within(eachRow(truth, scores, classes, place), k))
}

// place counts the classes whose scores are higher than that of a class.
func place(row []float64, class int) float64 {
	n := 0
	for k, score := range row {
		if score > row[class] || score == row[class] && k < class {
			n++
		}
	}
	return float64(n)
}

// within is 1 where a place is below k, and 0 elsewhere.
func within(places []float64, k int) []float64 {
	hits := make([]float64, len(places))
	for i, place := range places {
		if place < float64(k) {
			hits[i] = 1
		}
	}
	return hits
}

// CalibrationBins is the usual number of bins of the expected calibration error (Guo et al. 2017).
const CalibrationBins = 15

// CalibrationError is the expected calibration error of the likeliest class (Guo et al. 2017): rows are put into bins
// of equal width by the highest probability, and the differences between each bin's mean probability and its accuracy
// are averaged, weighted by its rows. It equals torchmetrics' MulticlassCalibrationError with norm="l1", in float64: a
// bin holds its lower bound and not its upper one, and rows of probability 1 are a bin of their own. Of equal
// probabilities the lower class number is the likeliest.
func CalibrationError(truth []int, probabilities []float64, classes, bins int) float64 {
	correct := make([]bool, len(truth))
	confidences := eachRow(truth, probabilities, classes, func(row []float64, _ int) float64 {
		highest := row[0]
		for _, p := range row {
			highest = max(highest, p)
		}
		return highest
	})
	for i, place := range eachRow(truth, probabilities, classes, place) {
		correct[i] = place == 0
	}
	return CalibrationErrorOf(confidences, correct, bins)(nil)
}

// CalibrationErrorOf is CalibrationError for resamples, of the highest probability of each row and whether that class
// is right. A probability outside of [0, 1] makes it NaN.
func CalibrationErrorOf(confidences []float64, correct []bool, bins int) Statistic {
	bin := make([]int, len(confidences))
	valid := bins > 0
	for i, c := range confidences {
		if valid = valid && 0 <= c && c <= 1; valid {
			bin[i] = binOf(c, bins)
		}
	}
	return func(times []int32) float64 {
		if !valid {
			return math.NaN()
		}
		sums := make([]float64, bins+1) // of confidence less correct
		rows := 0
		for i, c := range confidences {
			n := timesOf(times, i)
			if correct[i] {
				c--
			}
			sums[bin[i]], rows = sums[bin[i]]+float64(n)*c, rows+n
		}
		off := 0.0
		for _, s := range sums {
			off += math.Abs(s)
		}
		return off / float64(rows)
	}
}

// binOf finds the bin whose bounds, those of torch.linspace(0, 1, bins+1), hold a probability; bins for 1.
func binOf(probability float64, bins int) int {
	width := 1 / float64(bins)
	bound := func(i int) float64 { // counted from the nearer end, and rounded before it is subtracted, as torch does
		if i < (bins+1)/2 {
			return width * float64(i)
		}
		return 1 - float64(width*float64(bins-i))
	}
	i := min(bins, int(probability*float64(bins)))
	for i < bins && probability >= bound(i+1) {
		i++
	}
	for i > 0 && probability < bound(i) {
		i--
	}
	return i
}

// eachRow computes a number of each row.
func eachRow(truth []int, scores []float64, classes int, of func(row []float64, class int) float64) []float64 {
	out := make([]float64, len(truth))
	for i, class := range truth {
		out[i] = of(scores[i*classes:(i+1)*classes], class)
	}
	return out
}
