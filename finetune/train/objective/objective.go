// Package objective has what fine-tuning usually minimises: the cross-entropy of classes, the binary cross-entropy of
// several labels at once, and the squared error of numbers; with what the model's output then means.
package objective

import (
	"errors"
	"fmt"
	"math"

	"github.com/thaw-ml/thaw/finetune/train/metric"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
)

// ProblemType names an objective as transformers' config.json does.
type ProblemType string

// The problem types.
const (
	SingleLabel ProblemType = "single_label_classification"
	MultiLabel  ProblemType = "multi_label_classification"
	Regression  ProblemType = "regression"
)

// Objective is one of those below, with what it makes of a sample's output.
type Objective interface {
	Loss(output, target nn.Values) torch.Tensor
	NewMetric() metric.Metric
	// Predict says what a sample's logits mean.
	Predict(logits []float32) Prediction
	// Outputs is the number of logits.
	Outputs() int
	ProblemType() ProblemType
	// WithMetrics is the objective measured by the named metrics; nil stands for its default ones. A name that is none
	// of its metrics is a *metric.NameError, which lists them.
	WithMetrics(names []string) (Objective, error)
}

// New makes the objective of a problem type. names are the classes or labels, or the one name of what a regression
// predicts.
func New(problem ProblemType, names []string) Objective {
	switch problem {
	case MultiLabel:
		return Labels{Names: names}
	case Regression:
		return Number{}
	}
	return Classification{Classes: names}
}

// CheckNames makes sure that a head's outputs have names that fit the problem: two classes or more, one label or more,
// one number, none of them twice.
func CheckNames(problem ProblemType, names []string) error {
	switch {
	case problem != "" && problem != SingleLabel && problem != MultiLabel && problem != Regression:
		return fmt.Errorf("there is no problem type %q; there are %s, %s and %s", problem, SingleLabel, MultiLabel, Regression)
	case problem == Regression && len(names) != 1:
		return fmt.Errorf("a regression with %d outputs: one number is predicted", len(names))
	case problem == MultiLabel && len(names) < 1:
		return errors.New("a head without labels: give one or more")
	case problem != Regression && problem != MultiLabel && len(names) < 2:
		return fmt.Errorf("a head with %d classes: give two or more", len(names))
	}
	seen := map[string]bool{}
	for _, name := range names {
		if seen[name] {
			return fmt.Errorf("two classes are named %q", name)
		}
		seen[name] = true
	}
	return nil
}

// Classification chooses one class. The loss is the mean cross-entropy of logits [N, classes] and class numbers [N],
// int64, or class probabilities [N, classes], float32.
type Classification struct {
	Classes []string // names, by class number; nil leaves them unnamed
	// LabelSmoothing, in [0, 1), is the share of the target that is spread over all classes (Szegedy et al. 2015).
	LabelSmoothing float64
	// Weights, where not nil, say how much each class counts, by number: the mean is a weighted one, as that of PyTorch's
	// CrossEntropyLoss with weight. BalancedWeights makes them.
	Weights []float64
	// FocalGamma, 0 or above, lets samples that are classified well count less: by (1 - p)^gamma, p being the probability
	// of the right class (Lin et al. 2017). 0 is off. It goes without LabelSmoothing.
	FocalGamma float64
	// Metrics are what is measured, of metric.ClassificationNames; the first one chooses the best epoch. nil stands for
	// accuracy and macro_f1. A name that is none is an error of the evaluation; WithMetrics tells at once.
	Metrics []string
	// Intervals adds confidence intervals to every evaluation's score; nil adds none.
	Intervals *metric.Bootstrap

	weights torch.Tensor // Weights on the device of a run, see On
}

// Loss is the mean cross-entropy, weighted and focal as the fields say.
func (c Classification) Loss(output, target nn.Values) torch.Tensor {
	switch {
	case c.FocalGamma > 0:
		return focal(output[0], target[0], c.weightsOn(output[0].Device()), c.FocalGamma)
	case c.Weights != nil:
		return torch.CrossEntropyLoss(output[0], target[0], c.weightsOn(output[0].Device()), torch.ReduceMean, -100, c.LabelSmoothing)
	}
	return nn.CrossEntropy(output[0], target[0], c.LabelSmoothing)
}

// NewMetric measures Metrics.
func (c Classification) NewMetric() metric.Metric { return orFailed(c.metric()) }

func (c Classification) metric() (metric.Metric, error) {
	return metric.Options{Names: c.Metrics, Intervals: c.Intervals}.Classification(c.Classes)
}

// Outputs is the number of classes.
func (c Classification) Outputs() int { return len(c.Classes) }

// ProblemType is SingleLabel.
func (c Classification) ProblemType() ProblemType { return SingleLabel }

// WithMetrics sets Metrics.
func (c Classification) WithMetrics(names []string) (Objective, error) {
	c.Metrics = names
	return checked(c, c.metric)
}

// Predict gives the class with the largest logit, and the softmax of the logits as scores.
func (c Classification) Predict(logits []float32) Prediction {
	return newPrediction(c.Classes, logits, softmax(logits))
}

// Labels chooses any number of labels. The loss is the mean binary cross-entropy of logits [N, labels] and targets of
// the same shape, 0 or 1 in float32, as transformers' multi_label_classification.
type Labels struct {
	Names     []string
	Threshold float64 // of the sigmoid, above which a label is predicted; 0 stands for 0.5
	// PosWeights, where not nil, say how much a label that holds counts beside one that does not, by number, as pos_weight
	// of PyTorch's BCEWithLogitsLoss.
	PosWeights []float64
	// FocalGamma, 0 or above, lets labels that are told well count less, as torchvision's sigmoid_focal_loss; 0 is off.
	// FocalAlpha, in (0, 1), is the weight of labels that hold there, 1-FocalAlpha that of the others; 0 is off.
	FocalGamma, FocalAlpha float64
	// Metrics are what is measured, of metric.MultiLabelNames; the first one chooses the best epoch. nil stands for
	// micro_f1, macro_f1 and subset_accuracy. A name that is none is an error of the evaluation; WithMetrics tells at
	// once.
	Metrics []string
	// Intervals adds confidence intervals to every evaluation's score; nil adds none.
	Intervals *metric.Bootstrap

	weights torch.Tensor // PosWeights on the device of a run, see On
}

// Loss is the mean over samples and labels, weighted and focal as the fields say.
func (l Labels) Loss(output, target nn.Values) torch.Tensor {
	if l.FocalGamma > 0 {
		return l.focal(output[0], target[0])
	}
	if l.PosWeights != nil {
		return torch.BinaryCrossEntropyWithLogits(output[0], target[0], torch.Tensor{}, placed(l.weights, l.PosWeights, output[0].Device()), torch.ReduceMean)
	}
	return torch.BinaryCrossEntropyWithLogits(output[0], target[0], torch.Tensor{}, torch.Tensor{}, torch.ReduceMean)
}

// NewMetric measures Metrics.
func (l Labels) NewMetric() metric.Metric { return orFailed(l.metric()) }

func (l Labels) metric() (metric.Metric, error) {
	return metric.Options{Names: l.Metrics, Intervals: l.Intervals}.MultiLabel(l.Names, l.threshold())
}

func (l Labels) threshold() float64 {
	if l.Threshold == 0 {
		return 0.5
	}
	return l.Threshold
}

// Outputs is the number of labels.
func (l Labels) Outputs() int { return len(l.Names) }

// ProblemType is MultiLabel.
func (l Labels) ProblemType() ProblemType { return MultiLabel }

// WithMetrics sets Metrics.
func (l Labels) WithMetrics(names []string) (Objective, error) {
	l.Metrics = names
	return checked(l, l.metric)
}

// Predict gives all labels whose sigmoid is above the threshold; Label is the likeliest.
func (l Labels) Predict(logits []float32) Prediction {
	scores := sigmoid(logits)
	p := newPrediction(l.Names, logits, scores)
	p.Labels = []string{}
	for i, score := range scores {
		if score > l.threshold() {
			p.Labels = append(p.Labels, l.Names[i])
		}
	}
	return p
}

// Number predicts a number. The loss is the mean squared error of outputs [N, 1] and targets [N], float32, as
// transformers' regression with num_labels 1.
type Number struct {
	// Metrics are what is measured, of metric.RegressionNames; the first one chooses the best epoch. nil stands for
	// mse, mae, pearson and spearman. A name that is none is an error of the evaluation; WithMetrics tells at once.
	Metrics []string
	// Intervals adds confidence intervals to every evaluation's score; nil adds none.
	Intervals *metric.Bootstrap
}

// Loss is the mean squared error.
func (Number) Loss(output, target nn.Values) torch.Tensor {
	return torch.MSELoss(output[0].Reshape(-1), target[0].Reshape(-1), torch.ReduceMean)
}

// NewMetric measures Metrics.
func (n Number) NewMetric() metric.Metric { return orFailed(n.metric()) }

func (n Number) metric() (metric.Metric, error) {
	return metric.Options{Names: n.Metrics, Intervals: n.Intervals}.Regression()
}

// Outputs is 1.
func (Number) Outputs() int { return 1 }

// ProblemType is Regression.
func (Number) ProblemType() ProblemType { return Regression }

// WithMetrics sets Metrics.
func (n Number) WithMetrics(names []string) (Objective, error) {
	n.Metrics = names
	return checked(n, n.metric)
}

// Predict gives the number itself.
func (Number) Predict(logits []float32) Prediction {
	value := float64(logits[0])
	return Prediction{Value: &value, Logits: logits}
}

// softmax is that of logits, in float64.
func softmax(logits []float32) []float64 {
	highest := math.Inf(-1)
	for _, x := range logits {
		highest = max(highest, float64(x))
	}
	out, sum := make([]float64, len(logits)), 0.0
	for i, x := range logits {
		out[i] = math.Exp(float64(x) - highest)
		sum += out[i]
	}
	for i := range out {
		out[i] /= sum
	}
	return out
}

func sigmoid(logits []float32) []float64 {
	out := make([]float64, len(logits))
	for i, x := range logits {
		out[i] = 1 / (1 + math.Exp(-float64(x)))
	}
	return out
}
