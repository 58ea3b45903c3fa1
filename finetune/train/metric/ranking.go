package metric

import (
	"cmp"
	"math"
	"slices"
	"sync"
)

// AUROC is the area under the curve of true against false positives over all thresholds: the probability that a
// positive row has a higher score than a negative one, where equal scores count half (Hanley and McNeil 1982;
// scikit-learn's roc_auc_score). Scores need not be probabilities. NaN where all rows are positive, where none is, and
// where a score is NaN.
func AUROC(truth []bool, scores []float64) float64 { return AUROCOf(truth, scores)(nil) }

// AUROCOf is AUROC for resamples: the rows are sorted once.
func AUROCOf(truth []bool, scores []float64) Statistic {
	r := rank(truth, scores)
	return func(times []int32) float64 {
		var positives, negatives, area int // area is twice the pairs in order
		r.each(times, func(tp, fp int) {
			area += fp * (2*positives + tp)
			positives, negatives = positives+tp, negatives+fp
		})
		if positives == 0 || negatives == 0 {
			return math.NaN()
		}
		return float64(area) / (2 * float64(positives) * float64(negatives))
	}
}

// AveragePrecision is the mean of the precisions at the thresholds that each find more positive rows, weighted by how
// many more (scikit-learn's average_precision_score): the area under the precision-recall curve without interpolation.
// Rows with one score are found together. A classifier by chance has the share of the positive rows. It is 0 where no
// row is positive, and NaN without rows and where a score is NaN.
func AveragePrecision(truth []bool, scores []float64) float64 {
	return AveragePrecisionOf(truth, scores)(nil)
}

// AveragePrecisionOf is AveragePrecision for resamples: the rows are sorted once.
func AveragePrecisionOf(truth []bool, scores []float64) Statistic {
	r := rank(truth, scores)
	return func(times []int32) float64 {
		var positives, negatives int
		var sum float64 // of precisions, times the positive rows that each found
		r.each(times, func(tp, fp int) {
			positives, negatives = positives+tp, negatives+fp
			if tp > 0 {
				sum += float64(tp) * float64(positives) / float64(positives+negatives)
			}
		})
		switch {
		case positives+negatives == 0:
			return math.NaN()
		case positives == 0:
			return 0
		}
		return sum / float64(positives)
	}
}

// LabelAUROC averages AUROC over the columns of truth and scores, [rows, labels], row by row: of several labels, or of
// a class against the rest, which is scikit-learn's multi_class="ovr" (see OneHot). Macro is NaN if the AUROC of any
// label is; Weighted leaves out labels that no row has, and is 0 where no row has any; Micro takes all cells as rows.
func LabelAUROC(truth []bool, scores []float64, labels int, a Average) float64 {
	return averaged(matrix{labels, truth, scores}, a, AUROCOf)(nil)
}

// LabelAUROCOf is LabelAUROC for resamples.
func LabelAUROCOf(truth []bool, scores []float64, labels int, a Average) Statistic {
	return averaged(matrix{labels, truth, scores}, a, AUROCOf)
}

// LabelAveragePrecision averages AveragePrecision as LabelAUROC averages AUROC; a label that no row has counts as 0 in
// Macro.
func LabelAveragePrecision(truth []bool, scores []float64, labels int, a Average) float64 {
	return averaged(matrix{labels, truth, scores}, a, AveragePrecisionOf)(nil)
}

// LabelAveragePrecisionOf is LabelAveragePrecision for resamples.
func LabelAveragePrecisionOf(truth []bool, scores []float64, labels int, a Average) Statistic {
	return averaged(matrix{labels, truth, scores}, a, AveragePrecisionOf)
}

// OneHot gives [rows, classes], row by row: true at the class of each row.
func OneHot(truth []int, classes int) []bool {
	out := make([]bool, len(truth)*classes)
	for i, class := range truth {
		out[i*classes+class] = true
	}
	return out
}

// ranked has rows by falling score.
type ranked struct {
	order []int32 // rows
	ends  []int32 // where each group of equal scores ends in order
	truth []bool
	nan   bool
}

func rank(truth []bool, scores []float64) *ranked {
	r := &ranked{order: make([]int32, len(scores)), truth: truth, nan: slices.ContainsFunc(scores, math.IsNaN)}
	for i := range r.order {
		r.order[i] = int32(i)
	}
	slices.SortFunc(r.order, func(a, b int32) int { return cmp.Compare(scores[b], scores[a]) })
	for i := range r.order {
		if i+1 == len(r.order) || scores[r.order[i]] != scores[r.order[i+1]] {
			r.ends = append(r.ends, int32(i+1))
		}
	}
	return r
}

// each calls f with the positive and the negative rows of each group of equal scores; never where a score is NaN.
func (r *ranked) each(times []int32, f func(positives, negatives int)) {
	if r.nan {
		return
	}
	begin := int32(0)
	for _, end := range r.ends {
		var of [2]int
		for _, row := range r.order[begin:end] {
			if r.truth[row] {
				of[1] += timesOf(times, int(row))
			} else {
				of[0] += timesOf(times, int(row))
			}
		}
		f(of[1], of[0])
		begin = end
	}
}

// table gives truth and scores of labels, a column at a time, so that not all of them need to be in memory as float64.
type table interface {
	width() int
	column(label int) ([]bool, []float64)
	// all gives the cells row by row.
	all() ([]bool, []float64)
}

// matrix is a table in memory.
type matrix struct {
	labels int
	truth  []bool
	scores []float64
}

func (m matrix) width() int               { return m.labels }
func (m matrix) all() ([]bool, []float64) { return m.truth, m.scores }

func (m matrix) column(label int) (truth []bool, scores []float64) {
	for i := label; i < len(m.truth); i += m.labels {
		truth, scores = append(truth, m.truth[i]), append(scores, m.scores[i])
	}
	return truth, scores
}

// averaged averages a metric over the columns of a table.
func averaged(t table, a Average, of func([]bool, []float64) Statistic) Statistic {
	if a == Micro {
		s := sync.OnceValue(func() Statistic { return of(t.all()) })
		return func(times []int32) float64 { return s()(repeated(times, t.width())) }
	}
	column := func(label int) labelStatistic {
		truth, scores := t.column(label)
		return labelStatistic{truth, of(truth, scores)}
	}
	// Resamples share the sorted columns; once, each is freed before the next.
	columns := sync.OnceValue(func() []labelStatistic {
		out := make([]labelStatistic, t.width())
		for label := range out {
			out[label] = column(label)
		}
		return out
	})
	return func(times []int32) float64 {
		sum, weights := 0.0, 0.0
		for label := range t.width() {
			var s labelStatistic
			if times == nil {
				s = column(label)
			} else {
				s = columns()[label]
			}
			weight := 1.0
			if a == Weighted {
				weight = float64(s.support(times))
			}
			if weight > 0 {
				sum, weights = sum+weight*s.of(times), weights+weight
			}
		}
		if weights == 0 {
			return 0
		}
		return sum / weights
	}
}

// labelStatistic is a metric of one label.
type labelStatistic struct {
	truth []bool
	of    Statistic
}

// support counts the rows that have the label.
func (s labelStatistic) support(times []int32) (rows int) {
	for i, has := range s.truth {
		if has {
			rows += timesOf(times, i)
		}
	}
	return rows
}

// repeated gives each cell of a row the row's count.
func repeated(times []int32, width int) []int32 {
	if times == nil {
		return nil
	}
	out := make([]int32, 0, len(times)*width)
	for _, t := range times {
		for range width {
			out = append(out, t)
		}
	}
	return out
}
