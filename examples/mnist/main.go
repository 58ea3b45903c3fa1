// Command mnist trains an own network with an own loop on MNIST, or on any data set in its format: go run ./examples/mnist
// FOLDER, with train-images-idx3-ubyte.gz and the three files that belong to it in the folder.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/thaw-ml/thaw"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/data"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/torch/optim"
	"github.com/thaw-ml/thaw/vision/album"
)

// Net has two convolutions and two linear layers. Tags are the keys of a checkpoint.
type Net struct {
	Conv1 *nn.Conv2d `torch:"conv1"`
	Conv2 *nn.Conv2d `torch:"conv2"`
	FC1   *nn.Linear `torch:"fc1"`
	FC2   *nn.Linear `torch:"fc2"`
}

// Forward maps [N, 1, 28, 28] to logits [N, 10].
func (n *Net) Forward(x torch.Tensor) torch.Tensor {
	pool := nn.MaxPool2d{Kernel: 2, Stride: 2}
	x = pool.Forward(n.Conv1.Forward(x).ReLU())
	x = pool.Forward(n.Conv2.Forward(x).ReLU())
	return n.FC2.Forward(n.FC1.Forward(x.Flatten(1, -1)).ReLU())
}

// load reads pictures as [N, 1, 28, 28], from 0 to 1, and their labels as [N].
func load(folder, part string) *data.Tensors {
	sizes, pixels, err := album.ReadIdx(filepath.Join(folder, part+"-images-idx3-ubyte.gz"))
	if err != nil {
		log.Fatal(err)
	}
	_, labels, err := album.ReadIdx(filepath.Join(folder, part+"-labels-idx1-ubyte.gz"))
	if err != nil {
		log.Fatal(err)
	}
	x := torch.FromBytes(pixels, torch.Uint8, sizes[0], 1, sizes[1], sizes[2]).To(torch.Float32).DivScalar(255)
	return data.NewTensors(x, torch.FromBytes(labels, torch.Uint8, sizes[0]).To(torch.Int64))
}

func main() {
	thaw.Tune()
	train, test := load(os.Args[1], "train"), load(os.Args[1], "t10k")
	g, same, linear := torch.NewGenerator(1), nn.ConvOptions{Padding: 1}, nn.LinearOptions{}
	net := &Net{
		nn.NewConv2d(1, 16, 3, same, g), nn.NewConv2d(16, 32, 3, same, g), nn.NewLinear(32*7*7, 64, linear, g), nn.NewLinear(64, 10, linear, g),
	}
	nn.RequireGrad(net, true)
	optimizer := optim.NewAdamW(optim.AdamWOptions{}, optim.GroupOf(net, 1e-3))
	batches := data.NewSampler(train, data.SamplerOptions{Size: 64})
	for b, err := range data.Batches(context.Background(), train, batches.Training(1, 1)) {
		if err != nil {
			log.Fatal(err)
		}
		torch.Scoped(func() { // frees what the step makes
			nn.CrossEntropy(net.Forward(b.Input), b.Target, 0).Backward()
			optimizer.Step()
			optimizer.ZeroGrad()
		})
	}
	right := 0.0
	all := data.NewSampler(test, data.SamplerOptions{Size: 256}).Evaluation()
	for b, err := range data.Batches(context.Background(), test, all) {
		if err != nil {
			log.Fatal(err)
		}
		torch.Scoped(func() {
			torch.NoGrad(func() { right += net.Forward(b.Input).Argmax(1).Eq(b.Target).To(torch.Float32).Sum().Item() })
		})
	}
	fmt.Printf("accuracy %.4f\n", right/float64(test.Len()))
}
