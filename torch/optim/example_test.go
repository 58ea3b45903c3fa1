package optim_test

import (
	"fmt"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/optim"
)

// Gradient descent with momentum and a schedule, towards the minimum of (w - 3)^2.
func Example() {
	w := torch.NewParam(func() torch.Tensor { return torch.Zeros(torch.Float32, torch.CPU, 1).RequiresGrad_(true) })
	defer w.Close()
	group := &optim.Group{Params: []torch.Tensor{w}, Names: []string{"w"}}
	sgd := optim.NewSGD(optim.SGDOptions{Momentum: 0.9}, group)
	defer sgd.Close()
	const total = 100
	schedule := optim.Linear(10, total)
	for step := range total {
		torch.Scoped(func() {
			group.LR = 0.1 * schedule(step)
			w.SubScalar(3).Square().Sum().Backward()
			sgd.Step()
			sgd.ZeroGrad()
		})
	}
	fmt.Printf("%.2f\n", w.Item())
	fmt.Println(sgd.State()[0].Name)
	// Output:
	// 3.00
	// w.momentum_buffer
}
