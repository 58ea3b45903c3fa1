// Package metric measures a model's output against targets: classes, several labels at once, and numbers.
//
// A Metric takes a model's output batch by batch and sums up, as an objective's NewMetric makes it; Options choose what
// it reports, by name, and whether with confidence intervals. The functions behind the names are here as well, for any
// program: they read slices, and give the numbers of scikit-learn and SciPy, and of torchmetrics where those have none.
// Where Thaw differs the function says so; docs/guide/metrics.md has a table.
//
// What is not defined is NaN, unless scikit-learn with zero_division=0 gives it a number: the precision of a class that
// is never predicted, say, is 0. A function whose name ends in Of gives a Statistic, which [Bootstrap] resamples.
package metric

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
)

// Metric sums up a data set, batch by batch.
type Metric interface {
	// Add takes a batch's output and targets, on their device. It does not wait for the device: what it needs later it
	// keeps.
	Add(output, target nn.Values) error
	// Score waits for the device and sums up.
	Score() (Score, error)
	// Close frees what Add kept.
	Close()
}

// Score is how well a model does on a data set.
type Score struct {
	Loss   float64 // the mean of the samples' losses, without label smoothing
	Rows   int     // samples
	Values []Value // the objective's metrics; the best epoch is chosen by the first, unless another is named
	// Classes sums up each class, where there are classes; an epoch's score in a summary leaves it out.
	Classes *Classes
	// ByClass has the metrics of each class by itself, where they are defined so, as those of boxes are; an epoch's score in
	// a summary leaves it out.
	ByClass []ClassValues
	// Intervals are confidence intervals of Values by name, where they were asked for.
	Intervals map[string]Interval
}

// Value is one metric.
type Value struct {
	Name  string  // as in "macro_f1"
	Value float64 // NaN where it is not defined
	Lower bool    // lower is better
}

// ClassValues are the metrics of a class.
type ClassValues struct {
	Class  string
	Count  int     // of what was to be found
	Values []Value // in the order of Score.Values
}

// MarshalJSON writes an object with the class, the count and the metrics by name; null for NaN.
func (c ClassValues) MarshalJSON() ([]byte, error) {
	object := map[string]any{"class": c.Class, "count": c.Count}
	for _, v := range c.Values {
		object[v.Name] = number(v.Value)
	}
	return json.Marshal(object)
}

// UnmarshalJSON reads what MarshalJSON wrote; Values come in the order of their names.
func (c *ClassValues) UnmarshalJSON(text []byte) error {
	var object map[string]any
	if err := json.Unmarshal(text, &object); err != nil {
		return err
	}
	*c = ClassValues{}
	for _, name := range slices.Sorted(maps.Keys(object)) {
		value, isNumber := object[name].(float64)
		switch {
		case name == "class":
			c.Class, _ = object[name].(string)
		case name == "count":
			c.Count = int(value)
		case isNumber:
			c.Values = append(c.Values, Value{Name: name, Value: value})
		default:
			c.Values = append(c.Values, Value{Name: name, Value: math.NaN()})
		}
	}
	return nil
}

// Find gives a metric by its name: "loss" or one of Values.
func (s Score) Find(name string) (Value, bool) {
	if name == "loss" {
		return Value{"loss", s.Loss, true}, true
	}
	for _, v := range s.Values {
		if v.Name == name {
			return v, true
		}
	}
	return Value{}, false
}

// Value gives a metric by its name; NaN where there is none.
func (s Score) Value(name string) float64 {
	if v, ok := s.Find(name); ok {
		return v.Value
	}
	return math.NaN()
}

// Names lists the metrics, "loss" first.
func (s Score) Names() []string {
	names := []string{"loss"}
	for _, v := range s.Values {
		names = append(names, v.Name)
	}
	return names
}

// Better reports whether a value is better than another one of the same metric. Nothing is better than itself, and NaN
// is worse than any number.
func (v Value) Better(than Value) bool {
	switch {
	case math.IsNaN(v.Value):
		return false
	case math.IsNaN(than.Value):
		return true
	case v.Lower:
		return v.Value < than.Value
	}
	return v.Value > than.Value
}

// String is a score on a line: accuracy 0.8303  macro_f1 0.8302.
func (s Score) String() string {
	var parts []string
	for _, v := range s.Values {
		parts = append(parts, fmt.Sprintf("%s %.4f", v.Name, v.Value))
	}
	return strings.Join(parts, "  ")
}

// WithoutClasses leaves out what is as long as there are classes.
func (s Score) WithoutClasses() Score {
	s.Classes, s.ByClass = nil, nil
	return s
}

// MarshalJSON writes an object with the metrics by name, "loss", "rows", and what Classes holds; null for NaN. It is
// for other programs: nothing here reads it back.
func (s Score) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	put := func(name string, value any) error {
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		key, err := json.Marshal(name)
		if err != nil {
			return err
		}
		text, err := json.Marshal(value)
		if err == nil {
			fmt.Fprintf(&b, "%s:%s", key, text)
		}
		return err
	}
	if err := put("loss", number(s.Loss)); err != nil {
		return nil, err
	}
	for _, v := range s.Values {
		if err := put(v.Name, number(v.Value)); err != nil {
			return nil, err
		}
	}
	if err := put("rows", s.Rows); err != nil {
		return nil, err
	}
	if s.Intervals != nil {
		if err := put("intervals", s.Intervals); err != nil {
			return nil, err
		}
	}
	if s.ByClass != nil {
		if err := put("by_class", s.ByClass); err != nil {
			return nil, err
		}
	}
	if s.Classes != nil {
		if err := s.Classes.put(put); err != nil {
			return nil, err
		}
	}
	return fmt.Appendf(nil, "{%s}", b.Bytes()), nil
}

// number is what JSON has for a number: null for one that is not finite.
func number(x float64) any {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return nil
	}
	return x
}

// addIntervals adds intervals of all Values, which of computes for resamples of so many rows.
func (s *Score) addIntervals(b *Bootstrap, rows int, of func(times []int32, into []float64)) {
	if b == nil || rows == 0 {
		return
	}
	s.Intervals = map[string]Interval{}
	for i, interval := range b.intervals(rows, len(s.Values), of) {
		s.Intervals[s.Values[i].Name] = interval
	}
}

// UnmarshalJSON reads what MarshalJSON wrote; the metrics come sorted by name, and none says whether lower is better.
func (s *Score) UnmarshalJSON(text []byte) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		return err
	}
	*s = Score{}
	var classes Classes
	parts := map[string]any{
		"rows": &s.Rows, "classes": &classes.PerClass, "confusion": &classes.Confusion, "most_confused": &classes.MostConfused,
		"intervals": &s.Intervals, "by_class": &s.ByClass,
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if part, ok := parts[name]; ok {
			if err := json.Unmarshal(fields[name], part); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			continue
		}
		value := math.NaN()
		if string(fields[name]) != "null" {
			if err := json.Unmarshal(fields[name], &value); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		if name == "loss" {
			s.Loss = value
		} else {
			s.Values = append(s.Values, Value{Name: name, Value: value})
		}
	}
	if classes.PerClass != nil {
		s.Classes = &classes
	}
	return nil
}

// losses sums the loss of a data set on the device.
type losses struct {
	of   []torch.Tensor // float64, of each batch, times its samples
	rows int
}

func (l *losses) add(loss torch.Tensor, rows int) {
	l.of = append(l.of, torch.Keep(loss.To(torch.Float64).MulScalar(float64(rows))))
	l.rows += rows
}

// mean waits for the device.
func (l *losses) mean() float64 {
	if l.rows == 0 {
		return 0
	}
	sum := 0.0
	torch.Scoped(func() {
		for _, x := range torch.ToSlice[float64](torch.Stack(l.of, 0)) {
			sum += x
		}
	})
	return sum / float64(l.rows)
}

func (l *losses) close() { closeAll(l.of) }

func closeAll(tensors []torch.Tensor) {
	for _, t := range tensors {
		t.Close()
	}
}

// targetOf is the first target, which all metrics here compare with.
func targetOf(target nn.Values) (torch.Tensor, error) {
	if len(target) == 0 || !target[0].Defined() {
		return torch.Tensor{}, fmt.Errorf("the samples have no targets to measure against")
	}
	return target[0], nil
}

// outputOf is the model's output, of which there is one tensor.
func outputOf(output nn.Values) (torch.Tensor, error) {
	if len(output) != 1 {
		return torch.Tensor{}, fmt.Errorf("the head gives %d tensors, and one is measured", len(output))
	}
	return output[0], nil
}

// IsZero reports whether nothing was measured.
func (s Score) IsZero() bool { return s.Rows == 0 }
