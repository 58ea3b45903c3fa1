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

// Metrics are chosen by name.
func ExampleOptions_Classification() {
	m, err := metric.Options{Names: []string{"auroc", "f1", "log_loss"}}.Classification([]string{"ham", "spam"})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	torch.Scoped(func() {
		logits := torch.FromSlice([]float32{2, 0, 0, 1, 3, 1, 0, 2}, 4, 2) // ham, spam, ham, spam
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
	_, err = metric.Options{Names: []string{"aurok"}}.Regression()
	fmt.Println(err)
	// Output:
	// auroc 0.8333  f1 0.8000  log_loss 0.6735
	// the metric "aurok": a regression has no such metric; there are mse, rmse, mae, r2, pearson, spearman
}

// The functions behind the names take slices.
func ExampleAUROC() {
	spam, scores := []bool{true, false, false, true}, []float64{0.9, 0.2, 0.6, 0.4}
	fmt.Printf("%.3f %.3f\n", metric.AUROC(spam, scores), metric.AveragePrecision(spam, scores))
	// Output: 0.750 0.833
}

// Counts of classes have the metrics of decisions.
func ExampleCounts() {
	c := metric.CountClasses([]int{0, 0, 1, 2, 2}, []int{0, 1, 1, 2, 0}, 3)
	fmt.Printf("%.3f %.3f %.3f\n", c.Accuracy(), c.F1(metric.Macro), c.Matthews())
	// Output: 0.600 0.611 0.438
}

// A bootstrap says how sure a metric of so few rows is.
func ExampleBootstrap_Interval() {
	truth := []int{0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1}
	predicted := []int{0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 0, 1}
	matthews := metric.CountsOf(truth, predicted, 2, (*metric.Counts).Matthews)
	fmt.Printf("%.3f, and with 95 percent confidence %v\n", matthews(nil), metric.Bootstrap{Seed: 1}.Interval(12, matthews))
	// Output: 0.625, and with 95 percent confidence 0.0000 to 1.0000
}
