package recipe

import (
	"fmt"
	"strconv"

	"github.com/thaw-ml/thaw/finetune/train/objective"
)

// Balanced, as class_weights, makes every class count the same in all.
const Balanced = "balanced"

// ClassWeights say how much each class counts in the loss: one number for each of the classes, in their order, or
// "balanced". In YAML that is a list, or one word.
type ClassWeights []string

// MarshalYAML writes "balanced" as a scalar, and numbers as such.
func (w ClassWeights) MarshalYAML() (any, error) {
	if w.balanced() {
		return Balanced, nil
	}
	return w.numbers()
}

func (w ClassWeights) balanced() bool { return len(w) == 1 && w[0] == Balanced }

func (w ClassWeights) numbers() ([]float64, error) {
	out := make([]float64, len(w))
	for i, text := range w {
		x, err := strconv.ParseFloat(text, 64)
		if err != nil || !positive(x) {
			return nil, fmt.Errorf("must be %s, or a number above 0 for each class, such as [1, 3.5]; found %q", Balanced, text)
		}
		out[i] = x
	}
	return out, nil
}

// resolveLoss checks what the loss weighs.
func (s *Spec) resolveLoss(f *faults) {
	if len(s.ClassWeights) > 0 {
		f.check(s.Head.Objective != Regression, "class_weights", "are for classes; a regression has none")
		if !s.ClassWeights.balanced() {
			numbers, err := s.ClassWeights.numbers()
			f.check(err == nil, "class_weights", "%v", err)
			if n := len(s.Head.Classes); err == nil && n > 0 {
				f.check(len(numbers) == n, "class_weights", "found %d of %d weights: give one for each of head.classes, or %s", len(numbers), n, Balanced)
			}
		}
	}
	f.check(s.FocalGamma == 0 || positive(s.FocalGamma), "focal_gamma", "must be 0 (off) or above, found %v", s.FocalGamma)
	f.check(s.FocalGamma == 0 || s.Head.Objective != Regression, "focal_gamma", "is for classes; a regression has none")
	f.check(s.FocalGamma == 0 || s.LabelSmoothing == 0, "focal_gamma", "goes without label_smoothing: leave one out")
	f.check(s.FocalAlpha == 0 || 0 < s.FocalAlpha && s.FocalAlpha < 1, "focal_alpha", "must be 0 (off), or above 0 and below 1, found %v", s.FocalAlpha)
	f.check(s.FocalAlpha == 0 || s.FocalGamma > 0 && s.Head.Objective == MultiLabel, "focal_alpha",
		"is for focal_gamma with head.objective: multi-label; class_weights weigh classes")
}

// objective is the spec's, for a model's classes and the training samples' targets.
func (s *Spec) objective(classes []string, targets objective.Targets) (objective.Objective, error) {
	weights, err := s.weights(classes, targets)
	if err != nil {
		return nil, err
	}
	var o objective.Objective
	switch s.Head.Objective {
	case MultiLabel:
		o = objective.Labels{Names: classes, PosWeights: weights, FocalGamma: s.FocalGamma, FocalAlpha: s.FocalAlpha}
	case Regression:
		o = objective.Number{}
	default:
		o = objective.Classification{Classes: classes, LabelSmoothing: s.LabelSmoothing, Weights: weights, FocalGamma: s.FocalGamma}
	}
	return withMetrics(s, o)
}

func (s *Spec) weights(classes []string, targets objective.Targets) (weights []float64, err error) {
	switch {
	case len(s.ClassWeights) == 0:
		return nil, nil
	case s.ClassWeights.balanced() && s.Head.Objective == MultiLabel:
		weights, err = objective.BalancedPosWeights(targets, classes)
	case s.ClassWeights.balanced():
		weights, err = objective.BalancedWeights(targets, classes)
	default:
		weights, err = s.ClassWeights.numbers()
	}
	if err == nil && len(weights) != len(classes) {
		err = fmt.Errorf("found %d of %d weights: give one for each of the classes, %v, or %s", len(weights), len(classes), classes, Balanced)
	}
	if err != nil {
		return nil, s.Errorf("class_weights", "%w", err)
	}
	return weights, nil
}
