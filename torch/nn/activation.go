package nn

import (
	"fmt"
	"maps"
	"slices"

	"github.com/thaw-ml/thaw/torch"
)

// activations by their names in transformers' config.json.
var activations = map[string]func(torch.Tensor) torch.Tensor{
	"gelu":              torch.Tensor.GELU,
	"gelu_new":          torch.Tensor.GELUTanh,
	"gelu_pytorch_tanh": torch.Tensor.GELUTanh,
	"relu":              torch.Tensor.ReLU,
	"silu":              torch.Tensor.SiLU,
	"swish":             torch.Tensor.SiLU,
	"tanh":              torch.Tensor.Tanh,
	"sigmoid":           torch.Tensor.Sigmoid,
}

// Activation finds an activation by its name in a config.json.
func Activation(name string) (func(torch.Tensor) torch.Tensor, error) {
	f, ok := activations[name]
	if !ok {
		return nil, fmt.Errorf("no activation is named %q; there are %v", name, slices.Sorted(maps.Keys(activations)))
	}
	return f, nil
}
