package lora_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/finetune/lora"
	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/finetune/train/objective"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/data"
	"github.com/thaw-ml/thaw/torch/nn"
)

// Curve is a model of one hidden layer and a head: one number to another.
type Curve struct {
	Hidden *nn.Linear `torch:"hidden"`
	Head   *nn.Linear `torch:"head"`
}

// Stages implements finetune.Model.
func (c *Curve) Stages() []nn.Stage[*data.TensorBatch] {
	return []nn.Stage[*data.TensorBatch]{
		{Name: "hidden", Module: c.Hidden, Key: "hidden.", Forward: func(b *data.TensorBatch, _ nn.Values) nn.Values {
			return nn.Values{c.Hidden.Forward(b.Input).Tanh()}
		}},
		{Name: "head", Module: c.Head, Key: "head.", Forward: func(_ *data.TensorBatch, in nn.Values) nn.Values {
			return nn.Values{c.Head.Forward(in[0])}
		}},
	}
}

// Objective implements finetune.Model.
func (*Curve) Objective() train.Objective { return objective.Number{} }

func newCurve() *Curve {
	g := torch.NewGenerator(1)
	return &Curve{nn.NewLinear(1, 32, nn.LinearOptions{}, g), nn.NewLinear(32, 1, nn.LinearOptions{}, g)}
}

// parabola are samples of y = x^2. They are to be freed.
func parabola() (x, y torch.Tensor) {
	torch.Scoped(func() {
		x = torch.Linspace(-1, 1, 64, torch.Float32, torch.CPU).View(-1, 1)
		y = x.Square()
		torch.Keep(x, y)
	})
	return x, y
}

// Adapters train beside a frozen layer, and are written by themselves and read again.
func Example() {
	model := newCurve()
	defer nn.Close(model)
	adapters, err := lora.Apply(model.Stages(), lora.Config{Rank: 2, Targets: []string{lora.AllLinear}, Seed: 1})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(adapters)

	x, y := parabola()
	defer x.Close()
	defer y.Close()
	samples := data.NewTensors(x, y)
	result, err := finetune.Fit(context.Background(), model, samples, samples, finetune.Options{
		Phases: []finetune.Phase{{Train: adapters.Selection(), Epochs: 60, LR: 0.02}},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("learned:", result.Last.Value("mse") < result.Before.Value("mse")/10)

	folder, err := os.MkdirTemp("", "adapter")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(folder)
	if err := adapters.Save(folder); err != nil {
		log.Fatal(err)
	}
	file, err := torch.OpenCheckpoint(filepath.Join(folder, lora.WeightsFile))
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()
	for _, name := range file.Names() {
		shape, _ := file.Shape(name)
		fmt.Println(name, shape)
	}

	other := newCurve() // the network as it was before
	defer nn.Close(other)
	read, err := lora.Load(other.Stages(), folder)
	if err != nil {
		log.Fatal(err)
	}
	if err := read.Merge(); err != nil { // to predict without the adapters' cost
		log.Fatal(err)
	}
	defer read.Close()
	fmt.Println("read:", read.Matched)
	// Output:
	// rank 2 in 1 layer (hidden), 66 parameters
	// learned: true
	// base_model.model.head.bias [1]
	// base_model.model.head.weight [1 32]
	// base_model.model.hidden.lora_A.weight [2 1]
	// base_model.model.hidden.lora_B.weight [32 2]
	// read: [hidden]
}
