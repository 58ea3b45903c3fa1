package recipe

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/thaw-ml/thaw/finetune/train/objective"
	"github.com/thaw-ml/thaw/internal/suggest"
	"github.com/thaw-ml/thaw/text/corpus"
)

// problem is what transformers calls the head's objective.
func (h *Head) problem() objective.ProblemType {
	switch h.Objective {
	case MultiLabel:
		return objective.MultiLabel
	case Regression:
		return objective.Regression
	}
	return objective.SingleLabel
}

// labelReader turns the labels of rows into what the head is trained on.
type labelReader struct {
	problem   objective.ProblemType
	classes   []string
	separator string
	position  map[string]int // of a class
	seen      map[string]bool
}

func newLabelReader(problem objective.ProblemType, classes []string, separator string) *labelReader {
	l := &labelReader{problem: problem, classes: classes, separator: separator, position: map[string]int{}, seen: map[string]bool{}}
	for i, class := range classes {
		l.position[class] = i
	}
	return l
}

// targets reads the labels of all rows. A label that is no class, or no number, is an error that names the line.
func (l *labelReader) targets(t *corpus.Table) ([]objective.Target, error) {
	targets := make([]objective.Target, len(t.Rows))
	for i, r := range t.Rows {
		var err error
		if targets[i], err = l.target(t, r); err != nil {
			return nil, err
		}
	}
	return targets, nil
}

func (l *labelReader) target(t *corpus.Table, r corpus.Row) (target objective.Target, err error) {
	switch l.problem {
	case objective.Regression:
		target.Value, err = strconv.ParseFloat(strings.TrimSpace(r.Label), 64)
		if err != nil || math.IsNaN(target.Value) || math.IsInf(target.Value, 0) {
			return target, t.Fault(r, "the label %s is no finite number, which head.objective: regression needs", suggest.Quote(r.Label))
		}
	case objective.MultiLabel:
		for _, name := range l.names(r) {
			class, err := l.class(t, r, name)
			if err != nil {
				return target, err
			}
			if !slices.Contains(target.Labels, class) {
				target.Labels = append(target.Labels, class)
			}
		}
	default:
		target.Class, err = l.class(t, r, r.Label)
	}
	return target, err
}

// names are the labels of a row of which several may hold.
func (l *labelReader) names(r corpus.Row) []string {
	if r.Labels != nil {
		return r.Labels
	}
	var names []string
	for _, name := range strings.Split(r.Label, l.separator) {
		if name = strings.TrimSpace(name); name != "" {
			names = append(names, name)
		}
	}
	return names
}

func (l *labelReader) class(t *corpus.Table, r corpus.Row, name string) (int, error) {
	class, ok := l.position[name]
	if !ok {
		return 0, t.Fault(r, "the label %s is not a class; the classes are %s%s",
			suggest.Quote(name), suggest.List(l.classes), suggest.DidYouMean(name, l.classes))
	}
	l.seen[name] = true
	return class, nil
}

// met are the classes that rows had.
func (l *labelReader) met() []string {
	return slices.DeleteFunc(slices.Clone(l.classes), func(class string) bool { return !l.seen[class] })
}

// unseen is the first class that no row had; -1 where there is none.
func (l *labelReader) unseen() int {
	return slices.IndexFunc(l.classes, func(class string) bool { return !l.seen[class] && l.problem != objective.Regression })
}
