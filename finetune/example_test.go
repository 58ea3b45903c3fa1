package finetune_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/finetune/train/objective"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/data"
	"github.com/thaw-ml/thaw/torch/nn"
)

// Line is a model of one stage, the head: y = weight x + bias.
type Line struct{ Head *nn.Linear }

// Stages implements finetune.Model.
func (l *Line) Stages() []nn.Stage[*data.TensorBatch] {
	forward := func(b *data.TensorBatch, _ nn.Values) nn.Values { return nn.Values{l.Head.Forward(b.Input)} }
	return []nn.Stage[*data.TensorBatch]{{Name: "head", Module: l.Head, Key: "head.", Forward: forward}}
}

// Objective implements finetune.Model.
func (*Line) Objective() train.Objective { return objective.Number{} }

func newLine() *Line { return &Line{nn.NewLinear(1, 1, nn.LinearOptions{}, torch.NewGenerator(1))} }

// points are samples of y = 2x + 1. They are to be freed.
func points() (x, y torch.Tensor) {
	torch.Scoped(func() {
		x = torch.Linspace(-1, 1, 64, torch.Float32, torch.CPU).View(-1, 1)
		y = x.MulScalar(2).AddScalar(1)
		torch.Keep(x, y)
	})
	return x, y
}

// Fit trains an own model on tensors and leaves a run folder, whose weights any program reads.
func ExampleFit() {
	runs, err := os.MkdirTemp("", "runs")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(runs)
	model := newLine()
	defer nn.Close(model.Head)
	x, y := points()
	defer x.Close()
	defer y.Close()

	folder := finetune.NewFolder(filepath.Join(runs, "line-1"))
	samples := data.NewTensors(x, y)
	result, err := finetune.Fit(context.Background(), model, samples, samples, finetune.Options{
		Phases: []finetune.Phase{{Epochs: 40, LR: 0.1}},
		Folder: folder,
	})
	if err != nil {
		log.Fatal(err)
	}
	before, after := result.Before.Value("mse"), result.Last.Value("mse")
	fmt.Printf("mse %.2f -> %.2f after %d epochs\n", before, after, len(result.Epochs))

	weights, err := torch.OpenCheckpoint(filepath.Join(folder.Weights(), "best.safetensors"))
	if err != nil {
		log.Fatal(err)
	}
	defer weights.Close()
	torch.Scoped(func() {
		for _, name := range weights.Names() {
			tensor, err := weights.Tensor(name)
			if err != nil {
				log.Fatal(err)
			}
			fmt.Printf("%s %v %.1f\n", name, tensor.Shape(), tensor.Item())
		}
	})
	// Output:
	// mse 2.84 -> 0.00 after 40 epochs
	// head.bias [1] 1.0
	// head.weight [1 1] 2.0
}

// OnEvent ends a run early: what it returns is Stop, or an error that Fit gives back.
func ExampleOptions_earlyStopping() {
	model := newLine()
	defer nn.Close(model.Head)
	x, y := points()
	defer x.Close()
	defer y.Close()

	samples := data.NewTensors(x, y)
	result, err := finetune.Fit(context.Background(), model, samples, samples, finetune.Options{
		Phases: []finetune.Phase{{Epochs: 1000, LR: 0.1, Schedule: finetune.Constant}},
		Best:   "mae",
		OnEvent: func(e finetune.Event) error {
			if epoch, ok := e.(finetune.EpochDone); ok && epoch.Test.Value("mae") < 0.1 {
				return finetune.Stop
			}
			return nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("stopped:", result.Stopped, "in time:", len(result.Epochs) < 100)
	// Output: stopped: true in time: true
}

// A selection that the model does not have is an error before anything runs.
func ExampleCheckPhases() {
	model := newLine()
	defer nn.Close(model.Head)
	err := finetune.CheckPhases(model, []finetune.Phase{{Train: finetune.Selection{"layer4"}}})
	fmt.Println(err)
	// Output: Phases[0].Train: no stage matches "layer4"; this model has head
}
