package text_test

import (
	"context"
	"fmt"
	"log"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/text"
	"github.com/thaw-ml/thaw/torch/data"
)

// Texts in memory fine-tune a BERT, here one of two tiny layers, which then predicts. No file is written.
func Example() {
	head := text.NewHead("bad", "good")
	model, err := text.LoadClassifier("testdata/tiny", "testdata/tiny/bare.safetensors", head)
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()

	var items []text.Item
	for range 8 {
		items = append(items, text.Item{Text: "the film was great", Class: 1})
		items = append(items, text.Item{Text: "the film was dull", Class: 0})
	}
	set, err := model.NewDataset(items, text.DatasetOptions{MaxLength: 16})
	if err != nil {
		log.Fatal(err)
	}
	result, err := finetune.Fit(context.Background(), model, set, set, finetune.Options{
		Phases: []finetune.Phase{{Train: finetune.All(), Epochs: 20, LR: 5e-3}},
		Batch:  finetune.Batching{Size: 4},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result.Best)
	predictions, err := model.PredictTexts(context.Background(), "the film was great", "the film was dull")
	if err != nil {
		log.Fatal(err)
	}
	for _, p := range predictions {
		fmt.Println(p.Input, "->", p.Label)
	}
	// Output:
	// accuracy 1.0000  macro_f1 1.0000
	// the film was great -> good
	// the film was dull -> bad
}

// A head for pairs of texts and a number: how like are the two.
func ExampleClassifier_NewDataset() {
	head := text.Head{Problem: text.Regression}
	model, err := text.LoadClassifier("testdata/tiny", "testdata/tiny/bare.safetensors", head)
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	set, err := model.NewDataset([]text.Item{
		{Text: "a dull film", Pair: "the film was dull", Value: 4.5},
		{Text: "a dull film", Pair: "a great film", Value: 1},
	}, text.DatasetOptions{})
	if err != nil {
		log.Fatal(err)
	}
	b, err := set.Batch(data.Request{Indices: []int{0, 1}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(b.Size(), "pairs, padded to", b.Width(), "tokens, of", b.Lengths())

	_, err = model.PredictTexts(context.Background(), "one text alone")
	fmt.Println(err)
	// Output:
	// 2 pairs, padded to 10 tokens, of [10 9]
	// "one text alone" has no second text, and the others, or what the model was trained on, are pairs of texts
}
