package nn_test

import (
	"fmt"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/torch/optim"
)

// Net is a network with one hidden layer.
type Net struct {
	Hidden  *nn.Linear  `torch:"hidden"`
	Dropout *nn.Dropout `torch:""`
	Out     *nn.Linear  `torch:"out"`
}

// NewNet makes a network that maps [N, in] to [N, out].
func NewNet(in, hidden, out int, g *torch.Generator) *Net {
	return &Net{
		Hidden:  nn.NewLinear(in, hidden, nn.LinearOptions{}, g),
		Dropout: &nn.Dropout{P: 0.1},
		Out:     nn.NewLinear(hidden, out, nn.LinearOptions{}, g),
	}
}

func (n *Net) Forward(x torch.Tensor) torch.Tensor {
	return n.Out.Forward(n.Dropout.Forward(n.Hidden.Forward(x).Tanh()))
}

// A module of one's own: its keys, and a few steps that teach it exclusive or.
func Example() {
	net := NewNet(2, 8, 2, torch.NewGenerator(1))
	defer nn.Close(net)
	for key, p := range nn.Params(net) {
		fmt.Println(key, p.Shape())
	}

	nn.RequireGrad(net, true)
	optimizer := optim.NewAdamW(optim.AdamWOptions{}, optim.GroupOf(net, 0.05))
	defer optimizer.Close()
	torch.Scoped(func() {
		x := torch.FromSlice([]float32{0, 0, 0, 1, 1, 0, 1, 1}, 4, 2)
		classes := torch.FromSlice([]int64{0, 1, 1, 0})
		for range 100 {
			torch.Scoped(func() {
				nn.CrossEntropy(net.Forward(x), classes, 0).Backward()
				optimizer.Step()
				optimizer.ZeroGrad()
			})
		}
		fmt.Println(net.Forward(x).Argmax(1))
	})
	// Output:
	// hidden.weight [8 2]
	// hidden.bias [8]
	// out.weight [2 8]
	// out.bias [2]
	// tensor([0, 1, 1, 0])
}

func ExampleLinear_adapter() {
	layer := nn.NewLinear(4, 3, nn.LinearOptions{}, torch.NewGenerator(1))
	layer.Adapter = newLowRank(4, 3, torch.NewGenerator(2)) // y + up(down(x))
	defer nn.Close(layer)
	nn.RequireGrad(layer.Adapter, true)
	for key, p := range nn.Params(layer) {
		fmt.Println(key, p.Shape(), p.RequiresGrad())
	}
	// Output:
	// weight [3 4] false
	// bias [3] false
	// lora_A.weight [2 4] true
	// lora_B.weight [3 2] true
}
