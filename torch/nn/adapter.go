package nn

import "github.com/thaw-ml/thaw/torch"

// Adapter changes what a layer, such as [Linear] or [Conv2d], puts out: the seam for LoRA and its kin, which train a
// few parameters beside frozen ones. It is a module: a pointer to a struct whose tagged fields hold its parameters,
// found with those of the layer under keys beside "weight" and "bias". A layer whose Adapter is nil is as if there were
// none.
type Adapter interface {
	// Forward gives the layer's new output, of y's shape, from its input x and its own output y.
	Forward(x, y torch.Tensor) torch.Tensor
}

func adapt(a Adapter, x, y torch.Tensor) torch.Tensor {
	if a == nil {
		return y
	}
	return a.Forward(x, y)
}
