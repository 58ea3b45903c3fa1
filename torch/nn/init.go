package nn

import (
	"math"

	"github.com/thaw-ml/thaw/torch"
)

// Parameters are float32 on the CPU and outlive every scope: whoever makes a module closes it.

// Empty makes a parameter with memory but no values.
func Empty(shape ...int) (p torch.Tensor) {
	torch.Unscoped(func() { p = torch.Empty(torch.Float32, torch.CPU, shape...) })
	return p
}

// Constant makes a parameter whose elements are all v.
func Constant(v float64, shape ...int) torch.Tensor { return Empty(shape...).Fill_(v) }

// Uniform draws a parameter from [low, high).
func Uniform(low, high float64, g *torch.Generator, shape ...int) torch.Tensor {
	return Empty(shape...).Uniform_(low, high, g)
}

// Normal draws a parameter from N(mean, std).
func Normal(mean, std float64, g *torch.Generator, shape ...int) torch.Tensor {
	return Empty(shape...).Normal_(mean, std, g)
}

// XavierUniform draws a weight [out, in] from ±sqrt(6/(in+out)) (Glorot and Bengio 2010).
func XavierUniform(g *torch.Generator, out, in int) torch.Tensor {
	bound := math.Sqrt(6 / float64(in+out))
	return Uniform(-bound, bound, g, out, in)
}
