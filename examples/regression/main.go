// Command regression fine-tunes a network with a number as its output: it pre-trains a small network on one function, and
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

// Net is an own model. Its stages are where it can be cut into a frozen and a trained part.
type Net struct{ Hidden, Deep, Out *nn.Linear }

// Stages implements finetune.Model.
func (n *Net) Stages() []nn.Stage[*data.TensorBatch] {
	stage := func(name string, layer *nn.Linear, forward func(x torch.Tensor) torch.Tensor) nn.Stage[*data.TensorBatch] {
		return nn.Stage[*data.TensorBatch]{Name: name, Module: layer, Key: name + ".", Forward: func(b *data.TensorBatch, in nn.Values) nn.Values {
			if in == nil {
				in = nn.Values{b.Input}
			}
			return nn.Values{forward(in[0])}
		}}
	}
	return []nn.Stage[*data.TensorBatch]{
		stage("hidden", n.Hidden, func(x torch.Tensor) torch.Tensor { return n.Hidden.Forward(x).Tanh() }),
		stage("deep", n.Deep, func(x torch.Tensor) torch.Tensor { return n.Deep.Forward(x).Tanh() }),
		stage("out", n.Out, n.Out.Forward),
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

func main() {
	thaw.Tune()
	g := torch.NewGenerator(1)
	o := nn.LinearOptions{}
	net := &Net{nn.NewLinear(1, 32, o, g), nn.NewLinear(32, 32, o, g), nn.NewLinear(32, 1, o, g)}
	sine := func(x torch.Tensor) torch.Tensor { return x.MulScalar(3).Sin() }
	shifted := func(x torch.Tensor) torch.Tensor { return x.MulScalar(3).AddScalar(0.5).Sin().MulScalar(2) }

	for _, run := range []struct {
		name        string
		train, test *data.Tensors
		phase       finetune.Phase
	}{
		{"pre-training", samples(2000, 1, sine), samples(500, 2, sine), finetune.Phase{Train: finetune.All(), Epochs: 10, LR: 1e-2}},
		{"fine-tuning", samples(100, 3, shifted), samples(500, 4, shifted), finetune.Phase{Train: finetune.Top(1), Epochs: 20, LR: 1e-2}},
	} {
		result, err := finetune.Fit(context.Background(), net, run.train, run.test, finetune.Options{Phases: []finetune.Phase{run.phase}, Seed: 1})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%-12s before: mse %.3f  after: mse %.3f  pearson %.3f\n", run.name,
			result.Before.Value("mse"), result.Best.Value("mse"), result.Best.Value("pearson"))
	}
}
