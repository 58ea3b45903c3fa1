package onnx_test

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/thaw-ml/thaw/onnx"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
)

// A model of one's own is exported by adding its layers in the order in which they compute.
func Example() {
	type net struct {
		Hidden *nn.Linear `torch:"hidden"`
		Output *nn.Linear `torch:"output"`
	}
	g := torch.NewGenerator(1)
	model := &net{nn.NewLinear(4, 8, nn.LinearOptions{}, g), nn.NewLinear(8, 2, nn.LinearOptions{}, g)}
	defer nn.Close(model)

	folder, err := os.MkdirTemp("", "onnx")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(folder)
	torch.Scoped(func() {
		layers := onnx.NewLayers("net", nn.State(model))
		x := layers.Input("x", onnx.Float, onnx.Dynamic("batch"), onnx.Fixed(4))
		x = layers.Op("Relu", "relu", []onnx.Value{layers.Linear(x, "hidden")})
		layers.Output(layers.Linear(x, "output"), "logits", onnx.Float, onnx.Dynamic("batch"), onnx.Fixed(2))
		err = onnx.Model{Graph: layers.Graph}.Save(filepath.Join(folder, "net.onnx"))
	})
	fmt.Println(err)
	// Output: <nil>
}
