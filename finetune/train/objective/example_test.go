package objective_test

import (
	"fmt"

	"github.com/thaw-ml/thaw/finetune/train/objective"
)

// One class of several.
func ExampleClassification() {
	o := objective.Classification{Classes: []string{"negative", "neutral", "positive"}}
	p := o.Predict([]float32{-1, 0, 2})
	fmt.Printf("%s %.3f, then %s %.3f\n", p.Label, p.Score, p.Top[1].Label, p.Top[1].Score)
	// Output: positive 0.844, then neutral 0.114
}

// Any number of labels at once: each has a score of its own.
func ExampleLabels() {
	o := objective.Labels{Names: []string{"comedy", "drama", "thriller"}}
	p := o.Predict([]float32{3, 0.5, -2})
	fmt.Printf("%v comedy %.3f thriller %.3f\n", p.Labels, p.Scores["comedy"], p.Scores["thriller"])
	o.Threshold = 0.9
	fmt.Println(o.Predict([]float32{3, 0.5, -2}).Labels)
	// Output:
	// [comedy drama] comedy 0.953 thriller 0.119
	// [comedy]
}

// A number.
func ExampleNumber() {
	p := objective.Number{}.Predict([]float32{3.75})
	fmt.Println(*p.Value)
	// Output: 3.75
}

// A head's outputs need names that fit the problem.
func ExampleCheckNames() {
	fmt.Println(objective.CheckNames(objective.SingleLabel, []string{"yes"}))
	fmt.Println(objective.CheckNames(objective.MultiLabel, []string{"yes"}))
	// Output:
	// a head with 1 classes: give two or more
	// <nil>
}
