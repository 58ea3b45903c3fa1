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

// draw fills an existing parameter with what fill draws into a row-major tensor of its shape: random numbers then land
// on the same elements whatever the memory format, and autograd does not see it.
func draw(p torch.Tensor, fill func(torch.Tensor)) {
	torch.NoGrad(func() {
		if p.IsContiguous() {
			fill(p)
			return
		}
		torch.Scoped(func() {
			rows := p.Contiguous()
			fill(rows)
			p.Copy_(rows)
		})
	})
}

// KaimingNormal_ fills a convolution's weight [out, in/groups, kh, kw] from N(0, 2/fan_out) with fan_out = out*kh*kw
// (He et al. 2015, for ReLU, keeping the variance of gradients): kaiming_normal_(w, mode="fan_out",
// nonlinearity="relu").
func KaimingNormal_(w torch.Tensor, g *torch.Generator) {
	fanOut := w.Size(0) * fanIn(w) / w.Size(1)
	std := math.Sqrt2 / math.Sqrt(float64(fanOut))
	draw(w, func(w torch.Tensor) { w.Normal_(0, std, g) })
}

// KaimingUniform_ fills a weight [out, in, ...] from ±sqrt(6/fan_in) (He et al. 2015, for ReLU, keeping the variance of
// activations): kaiming_uniform_(w, nonlinearity="relu").
func KaimingUniform_(w torch.Tensor, g *torch.Generator) {
	bound := math.Sqrt(6 / float64(fanIn(w)))
	draw(w, func(w torch.Tensor) { w.Uniform_(-bound, bound, g) })
}

// LeCunUniform_ fills a weight [out, in, ...] from ±sqrt(3/fan_in) (LeCun et al. 1998, keeping the variance of linear
// layers): kaiming_uniform_(w, a=1).
func LeCunUniform_(w torch.Tensor, g *torch.Generator) {
	bound := math.Sqrt(3) / math.Sqrt(float64(fanIn(w)))
	draw(w, func(w torch.Tensor) { w.Uniform_(-bound, bound, g) })
}

// Normal_ fills a weight from N(mean, std), row by row whatever its memory format: normal_(w, mean, std).
func Normal_(w torch.Tensor, mean, std float64, g *torch.Generator) {
	draw(w, func(w torch.Tensor) { w.Normal_(mean, std, g) })
}

// fanIn is how many elements of a weight [out, in, ...] make one output element.
func fanIn(w torch.Tensor) int {
	n := 1
	for _, d := range w.Shape()[1:] {
		n *= d
	}
	return n
}
