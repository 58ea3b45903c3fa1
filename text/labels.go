package text

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/thaw-ml/thaw/torch"
)

// Classes are the labels by class number; empty where the file names none, or leaves a number out.
func (c Config) Classes() []string {
	classes, err := c.labels()
	if err != nil {
		return nil
	}
	return classes
}

// labels are the labels of id2label by class number.
func (c Config) labels() ([]string, error) {
	classes := make([]string, len(c.ID2Label))
	for i := range classes {
		label, ok := c.ID2Label[strconv.Itoa(i)]
		if !ok {
			return nil, fmt.Errorf("id2label has %d classes, and none is numbered %d", len(classes), i)
		}
		classes[i] = label
	}
	return classes, nil
}

// problem is what the logits mean: as problem_type says, and where it is left out, one output is a number and several
// are classes (transformers' BertForSequenceClassification).
func (c Config) problem() ProblemType {
	switch {
	case c.ProblemType != "":
		return c.ProblemType
	case len(c.ID2Label) == 1:
		return Regression
	}
	return SingleLabel
}

// checkLabels checks the classes of a classifier.
func (c Config) checkLabels() error {
	classes, err := c.labels()
	if err != nil {
		return err
	}
	if len(classes) == 1 && c.ProblemType == SingleLabel {
		return fmt.Errorf("there is one class, %q, and a choice takes two: problem_type %q or %q says what its value means", classes[0], Regression, MultiLabel)
	}
	if len(classes) > 1 && c.ProblemType == Regression {
		return fmt.Errorf("problem_type is %q with %d outputs, and one number is predicted", Regression, len(classes))
	}
	seen := map[string]int{}
	for i, class := range classes {
		if other, ok := seen[class]; ok {
			return fmt.Errorf("id2label names the classes %d and %d alike: %q", other, i, class)
		}
		seen[class] = i
	}
	return nil
}

// named is the configuration with classes where the file names none, as transformers names them: LABEL_0, LABEL_1 and
// so on, as many as num_labels says, or else as the head in the weights has.
func (c Config) named(checkpoint *torch.Checkpoint) (Config, error) {
	if len(c.ID2Label) > 0 {
		return c, nil
	}
	n := 0
	if raw, ok := c.file["num_labels"]; ok && string(raw) != "null" {
		if err := json.Unmarshal(raw, &n); err != nil {
			return c, fmt.Errorf("num_labels: %w", err)
		}
		if n < 1 || n > 1<<24 {
			return c, fmt.Errorf("num_labels is %d", n)
		}
	}
	for _, name := range checkpoint.Names() {
		if n > 0 {
			break
		}
		if key, _ := canonical(name); key == "classifier.weight" {
			if shape, _ := checkpoint.Shape(name); len(shape) > 0 && shape[0] <= 1<<24 {
				n = shape[0]
			}
		}
	}
	if n == 0 {
		return c, fmt.Errorf("it names no classes (id2label, num_labels), and %s has no classifier.weight: it is no classifier's", checkpoint.Path())
	}
	c.ID2Label = map[string]string{}
	for i := range n {
		c.ID2Label[strconv.Itoa(i)] = "LABEL_" + strconv.Itoa(i)
	}
	return c, nil
}
