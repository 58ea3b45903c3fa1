package metric_test

import (
	"fmt"
	"log"

	"github.com/thaw-ml/thaw/finetune/train/metric"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
)

// A metric takes batch after batch, and sums up at the end.
func ExampleNewClassification() {
	m := metric.NewClassification([]string{"cat", "dog"})
	defer m.Close()
	torch.Scoped(func() {
		logits := torch.FromSlice([]float32{2, 0, 0, 1, 3, 1, 0, 2}, 4, 2) // cat, dog, cat, dog
		classes := torch.FromSlice([]int{0, 1, 1, 1})
		if err := m.Add(nn.Values{logits}, nn.Values{classes}); err != nil {
			log.Fatal(err)
		}
	})
	score, err := m.Score()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(score)
	fmt.Print(score.Classes)
	// Output:
	// accuracy 0.7500  macro_f1 0.7333
	// true \ predicted     cat     dog
	// cat                    1       0
	// dog                    1       2
}

func ExampleNewRegression() {
	m := metric.NewRegression()
	defer m.Close()
	torch.Scoped(func() {
		outputs, targets := torch.FromSlice([]float32{1, 2, 4}, 3, 1), torch.FromSlice([]float32{1, 2, 3})
		if err := m.Add(nn.Values{outputs}, nn.Values{targets}); err != nil {
			log.Fatal(err)
		}
	})
	score, err := m.Score()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(score)
	fmt.Println(score.Names())
	mae, _ := score.Find("mae")
	fmt.Printf("%.4f, lower is better: %v\n", mae.Value, mae.Lower)
	// Output:
	// mse 0.3333  mae 0.3333  pearson 0.9820  spearman 1.0000
	// [loss mse mae pearson spearman]
	// 0.3333, lower is better: true
}
