// Command textclassify fine-tunes a pre-trained BERT on texts that are in memory, and classifies two sentences with it.
package main

import (
	"context"
	"encoding/csv"
	"fmt"
	"log"
	"os"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/text"
	"github.com/thaw-ml/thaw/text/corpus"
	"github.com/thaw-ml/thaw/torch"
)

var _ = csv.NewReader
var _ = os.Args

func main() {
	torch.KeepFreedMemory()
	classes := []string{"negative", "positive"}
	model, err := text.LoadClassifier("examples/reviews/data/model", "", text.Head{Classes: classes, Pooling: text.Mean}, 1)
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	all, err := corpus.Open("/work/tmp/small/s.tsv", corpus.Columns{Text: os.Args[1], Label: os.Args[2]})
	if err != nil {
		log.Fatal(err)
	}
	train, test, err := all.Split(os.Args[3], 1)
	if err != nil {
		log.Fatal(err)
	}
	trainSet, err := text.NewDataset(train, model.Tokenizer, classes, 128, 0)
	if err != nil {
		log.Fatal(err)
	}
	testSet, err := text.NewDataset(test, model.Tokenizer, classes, 128, 0)
	if err != nil {
		log.Fatal(err)
	}
	result, err := finetune.Fit(context.Background(), model, trainSet, testSet, finetune.Options{
		Phases: []finetune.Phase{{Train: finetune.Top(2), Epochs: 2, LR: 2e-4, LayerDecay: 1}}, Seed: 1,
		Folder:  finetune.NewFolder(os.Args[4]),
		OnEvent: func(e finetune.Event) error { log.Println(e); return nil },
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result.Best)
}
