package cuda_test

import (
	"fmt"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/cuda"
)

// A function that is captured once and replayed: its input is a tensor that is filled anew for each replay.
func ExampleGraph() {
	sums := func() error {
		if err := cuda.Check(); err != nil {
			return err // says what is missing: the build tag, the driver, or a device
		}
		input := torch.Zeros(torch.Float32, torch.CUDA(0), 4)
		defer input.Close()
		graph, err := cuda.NewGraph(cuda.GraphOptions{})
		if err != nil {
			return err
		}
		defer graph.Close()
		var output torch.Tensor
		err = graph.Capture(func() []torch.Tensor {
			output = input.Square().Sum()
			return []torch.Tensor{output}
		})
		if err != nil {
			return err
		}
		for i := range 3 {
			input.Fill_(i)
			if err := graph.Replay(); err != nil {
				return err
			}
			fmt.Println(output.Item())
		}
		return nil
	}
	if err := torch.TryErr(sums); err != nil {
		fmt.Println(err)
	}
}
