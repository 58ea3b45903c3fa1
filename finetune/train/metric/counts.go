package metric

import "math"

// Average says how the scores of classes, or of labels, become one.
type Average string

// The averages, with the names and the meaning that scikit-learn gives them.
const (
	Macro    Average = "macro"    // the mean over all classes: a rare class counts as much as a frequent one
	Micro    Average = "micro"    // the score of the sums over all classes
	Weighted Average = "weighted" // the mean over the classes, each weighted by its samples
)

// Counts counts rows by true and by predicted class. Every metric of predicted classes that is here is computed from
// these counts. Where a row has several labels, a class is a label and the counts of the labels are independent.
//
// A class is one of 0 to len(Support)-1, also where no row has that class or is predicted to: the averages below are
// those of scikit-learn with labels=range(classes) and zero_division=0.
type Counts struct {
	Rows      int
	Support   []int // rows of each class
	Predicted []int // predictions of each class
	Hits      []int // rows of each class that are predicted to be of it
}

// NewCounts starts with no rows.
func NewCounts(classes int) *Counts {
	return &Counts{Support: make([]int, classes), Predicted: make([]int, classes), Hits: make([]int, classes)}
}

// CountClasses counts rows whose true and predicted classes are from 0 to classes-1.
func CountClasses(truth, predicted []int, classes int) *Counts {
	return countTimes(truth, predicted, classes, nil)
}

// CountsOf is a metric of counts, for resamples: CountsOf(truth, predicted, 3, (*Counts).Matthews).
func CountsOf(truth, predicted []int, classes int, of func(*Counts) float64) Statistic {
	return func(times []int32) float64 { return of(countTimes(truth, predicted, classes, times)) }
}

func countTimes(truth, predicted []int, classes int, times []int32) *Counts {
	c := NewCounts(classes)
	for i, t := range truth {
		c.AddTimes(t, predicted[i], timesOf(times, i))
	}
	return c
}

// Add counts one row.
func (c *Counts) Add(truth, predicted int) { c.AddTimes(truth, predicted, 1) }

// AddTimes counts a row several times.
func (c *Counts) AddTimes(truth, predicted, times int) {
	c.Rows += times
	c.Support[truth] += times
	c.Predicted[predicted] += times
	if truth == predicted {
		c.Hits[truth] += times
	}
}

// Accuracy is the share of rows whose class is predicted (scikit-learn's accuracy_score); 0 without rows.
func (c *Counts) Accuracy() float64 { return ratio(sum(c.Hits), c.Rows) }

// BalancedAccuracy is the mean of the recalls of the classes that have rows (scikit-learn's balanced_accuracy_score;
// Brodersen et al. 2010). Classes without rows are left out, unlike in Recall(Macro); NaN where there are no rows.
func (c *Counts) BalancedAccuracy() float64 {
	recalls, classes := 0.0, 0
	for i, n := range c.Support {
		if n > 0 {
			recalls += float64(c.Hits[i]) / float64(n)
			classes++
		}
	}
	return recalls / float64(classes)
}

// Precision averages hits/predictions of the classes; a class that is never predicted has 0.
func (c *Counts) Precision(a Average) float64 { return c.average(a, 1, c.predictions) }

// Recall averages hits/rows of the classes; a class without rows has 0.
func (c *Counts) Recall(a Average) float64 { return c.average(a, 1, c.supports) }

// F1 averages the harmonic means of precision and recall of the classes, 2*hits/(predictions+rows); a class that is
// neither true nor predicted has 0.
func (c *Counts) F1(a Average) float64 { return c.average(a, 2, c.either) }

// ClassPrecision is the precision of one class: with class 1 of two, scikit-learn's average="binary".
func (c *Counts) ClassPrecision(class int) float64 { return ratio(c.Hits[class], c.predictions(class)) }

// ClassRecall is the recall of one class.
func (c *Counts) ClassRecall(class int) float64 { return ratio(c.Hits[class], c.supports(class)) }

// ClassF1 is the F1 score of one class.
func (c *Counts) ClassF1(class int) float64 { return ratio(2*c.Hits[class], c.either(class)) }

func (c *Counts) predictions(class int) int { return c.Predicted[class] }
func (c *Counts) supports(class int) int    { return c.Support[class] }
func (c *Counts) either(class int) int      { return c.Predicted[class] + c.Support[class] }

// average averages factor*hits/over of the classes.
func (c *Counts) average(a Average, factor int, over func(class int) int) float64 {
	mean, all, rows := 0.0, 0, 0
	for i, n := range c.Support {
		rows, all = rows+n, all+over(i)
		score := ratio(factor*c.Hits[i], over(i))
		if a == Weighted {
			mean += score * float64(n)
		} else {
			mean += score / float64(len(c.Support))
		}
	}
	switch {
	case a == Micro:
		return ratio(factor*sum(c.Hits), all)
	case a == Weighted && rows == 0:
		return 0
	case a == Weighted:
		return mean / float64(rows)
	}
	return mean
}

// Matthews is the Matthews correlation coefficient of the true and the predicted classes, for any number of classes
// (Gorodkin 2004; scikit-learn's matthews_corrcoef): from -1 to 1, 0 for chance. It is 0 where all rows are of one
// class or are predicted to be of one class, also where all of them are right.
func (c *Counts) Matthews() float64 {
	var both, predicted, truth float64
	for i := range c.Support {
		t, p := float64(c.Support[i]), float64(c.Predicted[i])
		both, predicted, truth = both+t*p, predicted+p*p, truth+t*t
	}
	n := float64(c.Rows)
	spread := (n*n - predicted) * (n*n - truth)
	if spread == 0 {
		return 0
	}
	return (float64(sum(c.Hits))*n - both) / math.Sqrt(spread)
}

// Kappa is Cohen's kappa without weights (Cohen 1960; scikit-learn's cohen_kappa_score): how much more often truth and
// prediction agree than by chance, as a share of what is possible. NaN where both know only one and the same class.
func (c *Counts) Kappa() float64 {
	chance := 0
	for i := range c.Support {
		chance += c.Support[i] * c.Predicted[i]
	}
	expected := c.Rows*c.Rows - chance // disagreements by chance, times the rows
	if expected == 0 {
		return math.NaN()
	}
	return 1 - float64(c.Rows-sum(c.Hits))*float64(c.Rows)/float64(expected)
}

// ratio is 0 of nothing, as zero_division=0 says.
func ratio(part, of int) float64 {
	if of == 0 {
		return 0
	}
	return float64(part) / float64(of)
}

func sum(of []int) (sum int) {
	for _, n := range of {
		sum += n
	}
	return sum
}
