// Command textclassify fine-tunes a pre-trained BERT on texts that are in memory, and classifies two sentences with
// it. It writes no file. Run it from the repository's root, after make reviews: go run ./examples/textclassify
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"slices"

	"github.com/thaw-ml/thaw"
	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/text"
	"github.com/thaw-ml/thaw/text/corpus"
)

var classes = []string{"negative", "positive"}

func main() {
	thaw.Tune()
	n := flag.Int("n", 2000, "reviews to read")
	flag.Parse()
	if err := run(context.Background(), *n); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, n int) error {
	trainItems, testItems, err := read("examples/reviews/reviews.tsv", n)
	if err != nil {
		return err
	}
	model, err := text.Load("examples/reviews/data/model", text.Head{Classes: classes, Pooling: text.Mean})
	if err != nil {
		return err
	}
	defer model.Close()
	trainSet, err := model.NewDataset(trainItems, text.DatasetOptions{})
	if err != nil {
		return err
	}
	testSet, err := model.NewDataset(testItems, text.DatasetOptions{})
	if err != nil {
		return err
	}
	result, err := finetune.Fit(ctx, model, trainSet, testSet, finetune.Options{
		Phases:  []finetune.Phase{{Train: finetune.Top(2), LR: 2e-4}},
		OnEvent: func(e finetune.Event) error { log.Println(e); return nil },
	})
	if err != nil {
		return err
	}
	fmt.Printf("before  %v\nbest    %v\n", result.Before, result.Best)
	predictions, err := model.PredictTexts(ctx, "A quiet, generous film.", "Two hours I will not get back.")
	for _, p := range predictions {
		fmt.Printf("%s %.3f  %s\n", p.Label, p.Score, p.Input)
	}
	return err
}

// read takes n rows of a table, every tenth for the test.
func read(path string, n int) (training, test []text.Item, err error) {
	table, err := corpus.Open(path, corpus.Columns{Text: "snippet", Label: "sentiment"})
	if err != nil {
		return nil, nil, err
	}
	for i, row := range table.Rows[:min(n, len(table.Rows))] {
		item := text.Item{Text: row.Text, Class: slices.Index(classes, row.Label)}
		if i%10 == 0 {
			test = append(test, item)
		} else {
			training = append(training, item)
		}
	}
	return training, test, nil
}
