package recipe_test

import (
	"fmt"
	"log"

	"github.com/thaw-ml/thaw/recipe"
)

const reviews = `model: data/model
head: {classes: [negative, positive], pooling: mean}
data:
  train: reviews.tsv
  columns: {text: snippet, label: sentiment}
  test: every 10
phases:
  - {train: top 2, epochs: 2, lr: 2e-4}
`

// A spec with one key set otherwise, as thaw train sets it at the shell. Everything left out has its default.
func ExampleParse() {
	spec, err := recipe.Parse("reviews.yaml", []byte(reviews), "phases[0].lr=1e-4")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(spec.Kind, spec.Head.Classes, spec.Head.Pooling)
	fmt.Println(spec.Phases[0].Train, spec.Phases[0].LR, spec.Phases[0].HeadLR, spec.Phases[0].Schedule)
	fmt.Println(spec.Batch.Size, spec.Optimizer.Name, spec.Data.MaxLength)
	// Output:
	// texts [negative positive] mean
	// [top 2] 0.0001 0.001 linear
	// 32 adamw 128
}

// All that is wrong is reported at once, each fault with its file, line and key.
func ExampleParse_errors() {
	_, err := recipe.Parse("reviews.yaml", []byte(`model: data/model
head: {classes: [negative, positive], poling: mean}
data:
  train: reviews.tsv
  columns: {text: snippet, label: sentiment}
phases:
  - {train: top 2, epochs: 0, lr: 2e-4}
`))
	fmt.Println(err)
	// Output:
	// reviews.yaml:2: head.poling: unknown key; did you mean "pooling"?
	// reviews.yaml:7: phases[0].epochs: must be 1 or more, found 0
}
