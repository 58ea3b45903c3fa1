package serve_test

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/thaw-ml/thaw/finetune/train/objective"
	"github.com/thaw-ml/thaw/serve"
)

// shouts is a model that finds out whether a text is in capital letters.
type shouts struct{}

func (shouts) Encode(text string) ([]string, error) {
	words := strings.Fields(text)
	if len(words) == 0 {
		return nil, errors.New("a text without words")
	}
	return words, nil
}

func (shouts) Cost(words []string) int { return len(words) }

func (shouts) PredictEncoded(_ context.Context, batch [][]string) ([]objective.Prediction, error) {
	predictions := make([]objective.Prediction, len(batch))
	for i, words := range batch {
		predictions[i].Label = "calm"
		if text := strings.Join(words, " "); text == strings.ToUpper(text) {
			predictions[i].Label = "loud"
		}
	}
	return predictions, nil
}

func Example() {
	server, err := serve.Start(shouts{}, serve.Options{MaxBatch: 16, MaxQueue: 100})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	for _, text := range []string{"What a film!", "WHAT A FILM!", ""} { // any number of goroutines may do this at once
		p, err := server.Predict(context.Background(), text)
		_, unreadable := errors.AsType[*serve.InputError](err)
		switch {
		case unreadable:
			fmt.Println("400:", err)
		case errors.Is(err, serve.ErrFull):
			fmt.Println("503:", err)
		default:
			fmt.Println(p.Label)
		}
	}
	// Output:
	// calm
	// loud
	// 400: a text without words
}

func ExampleServer_PredictAll() {
	server, err := serve.Start(shouts{}, serve.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	predictions, err := server.PredictAll(context.Background(), []string{"one", "TWO", "Three"})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, p := range predictions {
		fmt.Println(p.Label)
	}
	// Output:
	// calm
	// loud
	// calm
}
