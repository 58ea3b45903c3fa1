package nn

import (
	"fmt"
	"math"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/fused"
)

// Conv2d slides a window over the last two dimensions: [N, in, H, W] to [N, out, H', W'], with
// H' = (H + 2 padding - dilation (kernel-1) - 1) / stride + 1, rounded down.
type Conv2d struct {
	Weight torch.Tensor `torch:"weight"` // [out, in/groups, kernel height, kernel width]
	Bias   torch.Tensor `torch:"bias"`   // [out], or undefined

	Stride, Padding, Dilation [2]int // of rows, of columns; padding with zeros on both sides
	Groups                    int    // output channels of one group see the input channels of one group only

	Adapter Adapter `torch:""` // changes the output, or nil; its keys stand beside weight and bias
}

// ConvOptions are what a square convolution may have beside its size.
type ConvOptions struct {
	Stride   int // 0 stands for 1
	Padding  int
	Dilation int // 0 stands for 1
	Groups   int // 0 stands for 1
	NoBias   bool
}

// EmptyConv2d makes a layer with memory but no values, to be loaded. It panics *torch.Error where the groups do not
// divide the channels. The parameters live until Close.
func EmptyConv2d(in, out, kernel int, o ConvOptions) *Conv2d {
	stride, dilation, groups := max(o.Stride, 1), max(o.Dilation, 1), max(o.Groups, 1)
	if in%groups != 0 || out%groups != 0 {
		panic(&torch.Error{Op: "conv2d",
			Msg: fmt.Sprintf("%d groups do not divide %d input and %d output channels", groups, in, out)})
	}
	c := &Conv2d{
		Weight: Empty(out, in/groups, kernel, kernel), Groups: groups,
		Stride: [2]int{stride, stride}, Padding: [2]int{o.Padding, o.Padding}, Dilation: [2]int{dilation, dilation},
	}
	if !o.NoBias {
		c.Bias = Empty(out)
	}
	return c
}

// NewConv2d makes a layer as Init draws it.
func NewConv2d(in, out, kernel int, o ConvOptions, g *torch.Generator) *Conv2d {
	c := EmptyConv2d(in, out, kernel, o)
	c.Init(g)
	return c
}

// Init draws the parameters from ±1/sqrt(in/groups * kernel height * kernel width), PyTorch's default.
func (c *Conv2d) Init(g *torch.Generator) {
	bound := 1 / math.Sqrt(float64(fanIn(c.Weight)))
	draw(c.Weight, func(w torch.Tensor) { w.Uniform_(-bound, bound, g) })
	if c.Bias.Defined() {
		draw(c.Bias, func(b torch.Tensor) { b.Uniform_(-bound, bound, g) })
	}
}

// Forward maps [N, in, H, W] to [N, out, H', W']. The result is channels-last where x or the weight is.
func (c *Conv2d) Forward(x torch.Tensor) torch.Tensor {
	return adapt(c.Adapter, x, fused.Conv2d(x, c.Weight, c.Bias, c.Stride, c.Padding, c.Dilation, c.Groups))
}

// AutocastParams gives the weight and the bias, which autocast rounds.
func (c *Conv2d) AutocastParams() []torch.Tensor { return []torch.Tensor{c.Weight, c.Bias} }

// ChannelsLast lays out the four-dimensional parameters, the weights of convolutions, with the channels innermost in
// memory: convolutions over channels-last input run on them without copying. Shapes and values stay, and what is saved
// or read element by element is row-major as before. Do it before gradients exist.
func ChannelsLast(m any) {
	torch.Scoped(func() {
		torch.NoGrad(func() {
			for _, p := range Params(m) {
				if p.Dim() == 4 {
					p.SetData(p.ContiguousAs(torch.ChannelsLast))
				}
			}
		})
	})
}
