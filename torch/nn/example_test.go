package nn_test

import (
	"fmt"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
)

// A module is a struct, whose tags are the keys of a checkpoint.
func ExampleState() {
	type mlp struct {
		Hidden *nn.Linear `torch:"hidden"`
		Out    *nn.Linear `torch:"out"`
	}
	torch.Scoped(func() {
		m := &mlp{nn.EmptyLinear(4, 8), nn.EmptyLinear(8, 2)}
		for _, s := range nn.State(m) {
			fmt.Println(s.Name, s.Tensor.Shape())
		}
		nn.Close(m)
	})
	// Output:
	// hidden.weight [8 4]
	// hidden.bias [8]
	// out.weight [2 8]
	// out.bias [2]
}
