// Command mnist trains an own network with an own loop on Fashion-MNIST, which make fashion brings, or on another
// folder with train-images-idx3-ubyte.gz and its three companions: go run ./examples/mnist -data FOLDER
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"path/filepath"

	"github.com/thaw-ml/thaw"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/data"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/torch/optim"
	"github.com/thaw-ml/thaw/vision/album"
)

// Net has two convolutions and a linear layer. Tags are the keys of a checkpoint.
type Net struct {
	Conv1 *nn.Conv2d `torch:"conv1"`
	Conv2 *nn.Conv2d `torch:"conv2"`
	FC    *nn.Linear `torch:"fc"`
}

// Forward maps [N, 1, 28, 28] to logits [N, 10].
func (n *Net) Forward(x torch.Tensor) torch.Tensor {
	pool := nn.MaxPool2d{Kernel: 2, Stride: 2}
	x = pool.Forward(n.Conv1.Forward(x).ReLU()) // [N, 16, 14, 14]
	return n.FC.Forward(pool.Forward(n.Conv2.Forward(x).ReLU()).Flatten(1, -1))
}

// load reads images as [N, 1, 28, 28], from 0 to 1, and their labels as [N].
func load(folder, part string) (*data.Tensors, error) {
	sizes, pixels, err := album.ReadIdx(filepath.Join(folder, part+"-images-idx3-ubyte.gz"))
	_, labels, err2 := album.ReadIdx(filepath.Join(folder, part+"-labels-idx1-ubyte.gz"))
	if err := errors.Join(err, err2); err != nil {
		return nil, err
	}
	x := torch.FromBytes(pixels, torch.Uint8, sizes[0], 1, sizes[1], sizes[2]).To(torch.Float32).DivScalar(255)
	return data.NewTensors(x, torch.FromBytes(labels, torch.Uint8, sizes[0]).To(torch.Int64)), nil
}

func main() {
	thaw.Tune()
	folder := flag.String("data", "examples/fashion/data", "the `folder` of the idx files")
	flag.Parse()
	train, err := load(*folder, "train")
	test, err2 := load(*folder, "t10k")
	if err := errors.Join(err, err2); err != nil {
		log.Fatal(err)
	}
	g, same, o := torch.NewGenerator(1), nn.ConvOptions{Padding: 1}, nn.LinearOptions{}
	net := &Net{nn.NewConv2d(1, 16, 3, same, g), nn.NewConv2d(16, 32, 3, same, g), nn.NewLinear(32*7*7, 10, o, g)}
	nn.RequireGrad(net, true)
	optimizer := optim.NewAdamW(optim.AdamWOptions{}, optim.GroupOf(net, 1e-3))
	ctx, epoch := context.Background(), data.NewSampler(train, data.SamplerOptions{Size: 64}).Training(1, 1)
	for b, err := range data.Batches(ctx, train, epoch) {
		if err != nil {
			log.Fatal(err)
		}
		torch.Scoped(func() { // frees what the step makes
			nn.CrossEntropy(net.Forward(b.Input), b.Target, 0).Backward()
			optimizer.Step()
			optimizer.ZeroGrad()
		})
	}
	nn.RequireGrad(net, false)
	right, all := 0.0, data.NewSampler(test, data.SamplerOptions{Size: 256}).Evaluation()
	for b, err := range data.Batches(ctx, test, all) {
		if err != nil {
			log.Fatal(err)
		}
		torch.Scoped(func() { right += net.Forward(b.Input).Argmax(1).Eq(b.Target).Sum().Item() })
	}
	fmt.Printf("accuracy %.4f\n", right/float64(test.Len()))
}
