package metric

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/thaw-ml/thaw/internal/suggest"
)

// Options choose what a Metric reports beside the loss and the sums of each class. The zero value is each kind's
// default.
//
// The memory that a metric takes until Score is that of the predicted and the true class of each row, and of one
// float64 a row for each of top_K_accuracy, log_loss, brier and calibration_error. auroc and average_precision keep all
// scores of all rows, float32 on the device: 4 bytes times rows times classes, or 12 for several labels, whose intervals
// need the scores too; and as much again in the computer's memory when Score is called.
type Options struct {
	// Names are metrics in the order in which they are reported; the first one chooses the best epoch where no other is
	// named. nil stands for the default. docs/guide/metrics.md lists them all.
	Names []string
	// Intervals adds a confidence interval to each metric; nil adds none.
	Intervals *Bootstrap
}

// The metrics that are reported where no others are asked for.
var (
	classificationDefault = []string{"accuracy", "macro_f1"}
	multiLabelDefault     = []string{"micro_f1", "macro_f1", "subset_accuracy"}
	regressionDefault     = []string{"mse", "mae", "pearson", "spearman"}
)

// classMetric is a metric of one class of several, by its name.
type classMetric struct {
	name     string
	lower    bool // lower is better
	twoClass bool // defined for two classes only
	needs    need
	counted  func(*Counts) float64      // of counts; nil for the others
	of       func(*classRows) Statistic // of rows
	most     int                        // defined for more classes than this only; 0 for any number
}

// labelMetric is a metric of several labels.
type labelMetric struct {
	name    string
	lower   bool
	counted func(*labelCounts) float64
	of      func(scores) Statistic // of all scores
}

// numberMetric is a metric of numbers.
type numberMetric struct {
	name  string
	lower bool
	of    func(truth, predicted []float64) Statistic
}

var classMetrics = slices.Concat([]classMetric{
	{name: "accuracy", counted: (*Counts).Accuracy},
	{name: "balanced_accuracy", counted: (*Counts).BalancedAccuracy},
}, averagesOf(func(name string, of func(*Counts) float64) classMetric {
	return classMetric{name: name, counted: of}
}), []classMetric{
	{name: "precision", twoClass: true, counted: func(c *Counts) float64 { return c.ClassPrecision(1) }},
	{name: "recall", twoClass: true, counted: func(c *Counts) float64 { return c.ClassRecall(1) }},
	{name: "f1", twoClass: true, counted: func(c *Counts) float64 { return c.ClassF1(1) }},
	{name: "matthews", counted: (*Counts).Matthews},
	{name: "kappa", counted: (*Counts).Kappa},
	{name: "auroc", needs: needScores, of: rankingOf(Macro, AUROCOf)},
	{name: "weighted_auroc", needs: needScores, of: rankingOf(Weighted, AUROCOf)},
	{name: "average_precision", needs: needScores, of: rankingOf(Macro, AveragePrecisionOf)},
	{name: "weighted_average_precision", needs: needScores, of: rankingOf(Weighted, AveragePrecisionOf)},
	{name: "log_loss", lower: true, needs: needTruth, of: func(r *classRows) Statistic {
		return MeanOf(each(r.columns[needTruth], logLoss))
	}},
	{name: "brier", lower: true, needs: needBrier, of: func(r *classRows) Statistic { return MeanOf(r.columns[needBrier]) }},
	{name: "calibration_error", lower: true, needs: needConfidence, of: func(r *classRows) Statistic {
		return CalibrationErrorOf(r.columns[needConfidence], r.correct(), CalibrationBins)
	}},
})

var labelMetrics = slices.Concat(averagesOf(func(name string, of func(*Counts) float64) labelMetric {
	return labelMetric{name: name, counted: func(c *labelCounts) float64 { return of(c.Counts) }}
}), []labelMetric{
	{name: "subset_accuracy", counted: (*labelCounts).subsetAccuracy},
	{name: "hamming_loss", lower: true, counted: (*labelCounts).hammingLoss},
	{name: "auroc", of: func(s scores) Statistic { return averaged(s, Macro, AUROCOf) }},
	{name: "weighted_auroc", of: func(s scores) Statistic { return averaged(s, Weighted, AUROCOf) }},
	{name: "micro_auroc", of: func(s scores) Statistic { return averaged(s, Micro, AUROCOf) }},
	{name: "average_precision", of: func(s scores) Statistic { return averaged(s, Macro, AveragePrecisionOf) }},
	{name: "weighted_average_precision", of: func(s scores) Statistic { return averaged(s, Weighted, AveragePrecisionOf) }},
	{name: "micro_average_precision", of: func(s scores) Statistic { return averaged(s, Micro, AveragePrecisionOf) }},
})

var numberMetrics = []numberMetric{
	{name: "mse", lower: true, of: MSEOf},
	{name: "rmse", lower: true, of: RMSEOf},
	{name: "mae", lower: true, of: MAEOf},
	{name: "r2", of: R2Of},
	{name: "pearson", of: PearsonOf},
	{name: "spearman", of: SpearmanOf},
}

// averagesOf makes macro_f1, micro_f1, weighted_f1, and those of precision and recall.
func averagesOf[M any](metric func(name string, of func(*Counts) float64) M) (all []M) {
	for _, m := range []struct {
		name string
		of   func(*Counts, Average) float64
	}{{"f1", (*Counts).F1}, {"precision", (*Counts).Precision}, {"recall", (*Counts).Recall}} {
		for _, a := range []Average{Macro, Micro, Weighted} {
			all = append(all, metric(string(a)+"_"+m.name, func(c *Counts) float64 { return m.of(c, a) }))
		}
	}
	return all
}

// topKName is the name of a top-k accuracy; topKListed stands for all of them where names are listed.
var topKName = regexp.MustCompile(`^top_([1-9][0-9]{0,5})_accuracy$`)

const topKListed = "top_K_accuracy"

// topKMetric is the metric of such a name.
func topKMetric(name string) (classMetric, bool) {
	found := topKName.FindStringSubmatch(name)
	if found == nil {
		return classMetric{}, false
	}
	k, err := strconv.Atoi(found[1])
	return classMetric{name: name, needs: needPlace, most: k, of: func(r *classRows) Statistic {
		return MeanOf(within(r.columns[needPlace], k))
	}}, err == nil
}

// ClassificationNames lists the metrics of NewClassification; top_K_accuracy stands for top_2_accuracy, top_5_accuracy
// and so on.
func ClassificationNames() []string {
	return append(namesOf(classMetrics, func(m classMetric) string { return m.name }), topKListed)
}

// MultiLabelNames lists the metrics of NewMultiLabel.
func MultiLabelNames() []string {
	return namesOf(labelMetrics, func(m labelMetric) string { return m.name })
}

// RegressionNames lists the metrics of NewRegression.
func RegressionNames() []string {
	return namesOf(numberMetrics, func(m numberMetric) string { return m.name })
}

func namesOf[M any](metrics []M, name func(M) string) (names []string) {
	for _, m := range metrics {
		names = append(names, name(m))
	}
	return names
}

// NameError is a metric that cannot be reported.
type NameError struct {
	Position int // in Options.Names
	Name     string
	Reason   string
}

func (e *NameError) Error() string {
	return fmt.Sprintf("the metric %s: %s", suggest.Quote(e.Name), e.Reason)
}

// choose finds metrics by name, each once.
func choose[M any](names, fallback []string, find func(name string) (M, error)) ([]M, error) {
	if names == nil {
		names = fallback
	}
	var chosen []M
	for i, name := range names {
		m, err := find(name)
		switch {
		case err != nil:
			return nil, &NameError{i, name, err.Error()}
		case slices.Index(names, name) != i:
			return nil, &NameError{i, name, "named twice"}
		}
		chosen = append(chosen, m)
	}
	return chosen, nil
}

// unknown says which metrics there are.
func unknown(name, of string, listed []string) error {
	switch name {
	case "loss":
		return errors.New("the loss is always reported; leave it out")
	case topKListed:
		return errors.New("a number stands in place of K: top_2_accuracy, top_5_accuracy")
	}
	meant, join := suggest.DidYouMean(name, listed), ";"
	if meant != "" {
		join = "" // the question ends with its mark
	}
	return fmt.Errorf("%s has no such metric%s%s there are %s", of, meant, join, strings.Join(listed, ", "))
}

// chooseClass finds the metrics of so many classes; 0 where their number is not known yet.
func (o Options) chooseClass(classes int) ([]classMetric, error) {
	const of = "a classification"
	return choose(o.Names, classificationDefault, func(name string) (classMetric, error) {
		m, ok := topKMetric(name)
		if i := slices.IndexFunc(classMetrics, func(m classMetric) bool { return m.name == name }); !ok && i >= 0 {
			m, ok = classMetrics[i], true
		}
		switch {
		case !ok:
			return m, unknown(name, of, ClassificationNames())
		case m.twoClass && classes > 2:
			return m, fmt.Errorf("one of %d classes is meant: name macro_%[2]s, micro_%[2]s or weighted_%[2]s", classes, name)
		case classes > 0 && m.most >= classes:
			return m, fmt.Errorf("with %d classes it is always 1", classes)
		}
		return m, nil
	})
}

func (o Options) chooseLabel() ([]labelMetric, error) {
	return choose(o.Names, multiLabelDefault, func(name string) (labelMetric, error) {
		if i := slices.IndexFunc(labelMetrics, func(m labelMetric) bool { return m.name == name }); i >= 0 {
			return labelMetrics[i], nil
		}
		return labelMetric{}, unknown(name, "a problem of several labels", MultiLabelNames())
	})
}

func (o Options) chooseNumber() ([]numberMetric, error) {
	return choose(o.Names, regressionDefault, func(name string) (numberMetric, error) {
		if i := slices.IndexFunc(numberMetrics, func(m numberMetric) bool { return m.name == name }); i >= 0 {
			return numberMetrics[i], nil
		}
		return numberMetric{}, unknown(name, "a regression", RegressionNames())
	})
}
