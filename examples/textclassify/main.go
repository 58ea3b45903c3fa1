// Command textclassify fine-tunes a pre-trained BERT on texts that are in memory, and classifies two sentences with it. It writes
// no file. Run it from the repository's root, after make reviews: go run ./examples/textclassify
package main

import (
	"context"
	"encoding/csv"
	"flag"
	"fmt"
	"log"
	"os"

	"github.com/thaw-ml/thaw"
	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/text"
)

var classes = []string{"negative", "positive"}

// read gives n reviews, of which every tenth is tested on.
func read(path string, n int) (training, test []text.Item) {
	f, err := os.Open(path)
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	r := csv.NewReader(f)
	r.Comma, r.LazyQuotes, r.FieldsPerRecord = '\t', true, -1
	rows, err := r.ReadAll()
	if err != nil {
		log.Fatal(err)
	}
	for i, row := range rows[1:min(n+1, len(rows))] {
		item := text.Item{Text: row[0]}
		if row[1] == classes[1] {
			item.Class = 1
		}
		if i%10 == 0 {
			test = append(test, item)
		} else {
			training = append(training, item)
		}
	}
	return training, test
}

func main() {
	n := flag.Int("n", 2000, "reviews to read")
	flag.Parse()
	thaw.Tune()
	model, err := text.Load("examples/reviews/data/model", text.Head{Classes: classes, Pooling: text.Mean})
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	trainItems, testItems := read("examples/reviews/reviews.tsv", *n)
	trainSet, err := model.NewDataset(trainItems, text.DatasetOptions{})
	if err != nil {
		log.Fatal(err)
	}
	testSet, err := model.NewDataset(testItems, text.DatasetOptions{})
	if err != nil {
		log.Fatal(err)
	}
	result, err := finetune.Fit(context.Background(), model, trainSet, testSet, finetune.Options{
		Phases: []finetune.Phase{{Train: finetune.Top(2), LR: 2e-4}},
		OnEvent: func(e finetune.Event) error {
			if done, ok := e.(train.TaskDone); ok {
				log.Println(done)
			}
			return nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result.Best)
	predictions, err := model.PredictTexts(context.Background(), "A quiet, generous film.", "Two hours I will not get back.")
	if err != nil {
		log.Fatal(err)
	}
	for _, p := range predictions {
		fmt.Printf("%s %.3f  %s\n", p.Label, p.Score, p.Input)
	}
}
