package objective

import (
	"fmt"
	"math"

	"github.com/thaw-ml/thaw/torch"
)

// Target is what a sample's output is compared with: Class of a Classification, Labels of a Labels objective, Value of
// a Number.
type Target struct {
	Class  int
	Labels []int // numbers of the labels that hold, in any order
	Value  float64
}

// Targets are those of many samples, for one objective. The zero value stands for samples whose targets are not known.
type Targets struct {
	Classes []int     // class numbers
	Labels  [][]int   // numbers of the labels that hold, of each sample
	Width   int       // the number of labels that there are
	Values  []float64 // numbers
}

// NewTargets lists the targets of samples for an objective with so many outputs (see [Objective]). A class or label
// that the objective does not have, and a value that is not finite, is an error that names the sample as name does; a
// nil name counts from 0.
func NewTargets(problem ProblemType, outputs int, samples []Target, name func(i int) string) (Targets, error) {
	if name == nil {
		name = func(i int) string { return fmt.Sprint("sample ", i) }
	}
	t := Targets{}
	for i, s := range samples {
		switch problem {
		case Regression:
			if math.IsNaN(s.Value) || math.IsInf(s.Value, 0) {
				return t, fmt.Errorf("%s: the value is %v: a finite number is needed", name(i), s.Value)
			}
			t.Values = append(t.Values, s.Value)
		case MultiLabel:
			for _, label := range s.Labels {
				if label < 0 || label >= outputs {
					return t, fmt.Errorf("%s: there is no label %d: the labels are 0 to %d", name(i), label, outputs-1)
				}
			}
			t.Labels, t.Width = append(t.Labels, s.Labels), outputs
		default:
			if s.Class < 0 || s.Class >= outputs {
				return t, fmt.Errorf("%s: there is no class %d: the classes are 0 to %d", name(i), s.Class, outputs-1)
			}
			t.Classes = append(t.Classes, s.Class)
		}
	}
	return t, nil
}

// Len is the number of samples; 0 where their targets are not known.
func (t Targets) Len() int { return max(len(t.Classes), len(t.Labels), len(t.Values)) }

// Strata are class numbers for data.Split, which draws from each class: those of a classification, and 0 for all
// samples of the other objectives.
func (t Targets) Strata() []int {
	if t.Classes != nil {
		return t.Classes
	}
	return make([]int, t.Len())
}

// Select lists the targets of some samples, by their positions.
func (t Targets) Select(samples []int) Targets {
	return Targets{pick(t.Classes, samples), pick(t.Labels, samples), t.Width, pick(t.Values, samples)}
}

func pick[T any](from []T, at []int) []T {
	if from == nil {
		return nil
	}
	out := make([]T, 0, len(at))
	for _, i := range at {
		out = append(out, from[i])
	}
	return out
}

// Add appends the target of another sample of the same kind.
func (t *Targets) Add(other Targets, sample int) {
	switch {
	case other.Classes != nil:
		t.Classes = append(t.Classes, other.Classes[sample])
	case other.Labels != nil:
		t.Labels, t.Width = append(t.Labels, other.Labels[sample]), other.Width
	case other.Values != nil:
		t.Values = append(t.Values, other.Values[sample])
	}
}

// Tensor is what an objective's Loss reads: class numbers [N] int64, labels [N, labels] float32 of 0 and 1, or numbers
// [N] float32; undefined where the targets are not known.
func (t Targets) Tensor() torch.Tensor {
	switch {
	case t.Classes != nil:
		return torch.FromSlice(t.Classes)
	case t.Labels != nil:
		rows := make([]float32, len(t.Labels)*t.Width)
		for i, labels := range t.Labels {
			for _, label := range labels {
				rows[i*t.Width+label] = 1
			}
		}
		return torch.FromSlice(rows, len(t.Labels), t.Width)
	case t.Values != nil:
		values := make([]float32, len(t.Values))
		for i, v := range t.Values {
			values[i] = float32(v)
		}
		return torch.FromSlice(values)
	}
	return torch.Tensor{}
}
