// Command regression fine-tunes a network whose output is a number: it pre-trains a small network on one function, and
// fine-tunes it on few samples of another, with the first layer frozen.
package main

import (
	"context"
	"fmt"
	"log"

	"github.com/thaw-ml/thaw"
	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/finetune/train/objective"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/data"
	"github.com/thaw-ml/thaw/torch/nn"
)

// Net is an own model. Its stages are where Fit can cut it into a frozen and a trained part.
type Net struct{ Hidden, Deep, Out *nn.Linear }

// Stages implements finetune.Model. The input of the first is the batch, that of the others the output before.
func (n *Net) Stages() []nn.Stage[*data.TensorBatch] {
	return []nn.Stage[*data.TensorBatch]{
		{Name: "hidden", Module: n.Hidden, Key: "hidden.", Forward: func(b *data.TensorBatch, _ nn.Values) nn.Values {
			return nn.Values{n.Hidden.Forward(b.Input).Tanh()}
		}},
		{Name: "deep", Module: n.Deep, Key: "deep.", Forward: func(_ *data.TensorBatch, in nn.Values) nn.Values {
			return nn.Values{n.Deep.Forward(in[0]).Tanh()}
		}},
		{Name: "out", Module: n.Out, Key: "out.", Forward: func(_ *data.TensorBatch, in nn.Values) nn.Values {
			return nn.Values{n.Out.Forward(in[0])}
		}},
	}
}

// Objective implements finetune.Model: the mean squared error.
func (*Net) Objective() train.Objective { return objective.Number{} }

// samples are numbers x in -1..1 with y = f(x), to which a measurement adds noise.
func samples(n int, seed uint64, f func(x torch.Tensor) torch.Tensor) *data.Tensors {
	g := torch.NewGenerator(seed)
	x := torch.Empty(torch.Float32, torch.CPU, n, 1).Uniform_(-1, 1, g)
	noise := torch.Empty(torch.Float32, torch.CPU, n, 1).Normal_(0, 0.05, g)
	return data.NewTensors(x, f(x).Add(noise))
}

func sine(x torch.Tensor) torch.Tensor    { return x.MulScalar(3).Sin() }
func shifted(x torch.Tensor) torch.Tensor { return x.MulScalar(3).AddScalar(0.5).Sin().MulScalar(2) }

func main() {
	thaw.Tune()
	g, o := torch.NewGenerator(1), nn.LinearOptions{}
	net := &Net{nn.NewLinear(1, 32, o, g), nn.NewLinear(32, 32, o, g), nn.NewLinear(32, 1, o, g)}
	for _, run := range []struct {
		name        string
		train, test *data.Tensors
		phase       finetune.Phase
	}{
		{"pre-training", samples(2000, 1, sine), samples(500, 2, sine), finetune.AllFor(10)},
		{"fine-tuning", samples(100, 3, shifted), samples(500, 4, shifted), finetune.TopFor(1, 20)},
	} {
		run.phase.LR = 1e-2
		result, err := finetune.Fit(context.Background(), net, run.train, run.test, finetune.Options{
			Phases: []finetune.Phase{run.phase}, Seed: 1,
		})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%-12s  before: mse %.3f  best: mse %.3f  pearson %.3f\n", run.name,
			result.Before.Value("mse"), result.Best.Value("mse"), result.Best.Value("pearson"))
	}
}
