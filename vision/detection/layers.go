package detection

import (
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
)

// Sequential runs layers one after the other. Their keys are their positions.
type Sequential []Layer

// Layer is one of a Sequential.
type Layer interface {
	Forward(x torch.Tensor) torch.Tensor
}

// Forward frees what lies between the layers, unless autograd needs it.
func (s Sequential) Forward(x torch.Tensor) torch.Tensor {
	return torch.Tidy(func() torch.Tensor {
		for _, layer := range s {
			x = layer.Forward(x)
		}
		return x
	})
}

// inPlaceReLU has no parameters, but a position. It stands behind layers whose output nobody else reads.
type inPlaceReLU struct{}

func (inPlaceReLU) Forward(x torch.Tensor) torch.Tensor { return x.ReLU_() }

// flattenRows makes [N, ...] to [N, all].
type flattenRows struct{}

func (flattenRows) Forward(x torch.Tensor) torch.Tensor { return x.Flatten(1, -1) }

// ConvNorm is a convolution with a norm behind it, or nil, and ReLU where it is asked for: torchvision's
// Conv2dNormActivation. The convolution has a bias where there is no norm.
type ConvNorm struct {
	Conv *nn.Conv2d `torch:"0"`
	Norm nn.Norm    `torch:"1"`

	ReLU bool
}

// newConvNorm keeps the size of its input. norm may be nil.
func newConvNorm(in, out, kernel int, norm func(channels int) nn.Norm, relu bool) *ConvNorm {
	c := &ConvNorm{Conv: nn.EmptyConv2d(in, out, kernel, nn.ConvOptions{Padding: kernel / 2, NoBias: norm != nil}), ReLU: relu}
	if norm != nil {
		c.Norm = norm(out)
	}
	return c
}

// Forward maps [N, in, H, W] to [N, out, H, W].
func (c *ConvNorm) Forward(x torch.Tensor) torch.Tensor {
	return torch.Tidy(func() torch.Tensor {
		x = c.Conv.Forward(x)
		if c.Norm != nil {
			x = c.Norm.Forward(x)
		}
		if c.ReLU {
			x = x.ReLU_()
		}
		return x
	})
}

// conv3x3 keeps the size of its input, up to the stride.
func conv3x3(in, out, stride int) *nn.Conv2d {
	return nn.EmptyConv2d(in, out, 3, nn.ConvOptions{Stride: stride, Padding: 1})
}

// groupNorm is what heads normalise with.
func groupNorm(channels int) nn.Norm { return nn.EmptyGroupNorm(32, channels) }

func batchNorm(channels int) nn.Norm { return nn.EmptyBatchNorm(channels) }

// initDefault draws a module's convolutions and linear layers as PyTorch's constructors do, and sets its norms.
func initDefault(m any, g *torch.Generator) {
	for _, layer := range nn.Modules[interface{ Init(*torch.Generator) }](m) {
		layer.Init(g)
	}
	for _, norm := range nn.Modules[nn.Norm](m) {
		norm.Init()
	}
}

// initNormal draws the weights of convolutions from N(0, 0.01), with biases of 0, as detectors' heads begin.
func initNormal(m any, g *torch.Generator) {
	for _, c := range nn.Modules[*nn.Conv2d](m) {
		nn.Normal_(c.Weight, 0, 0.01, g)
		zeroBias(c)
	}
}

// initLeCun draws the weights of convolutions as those of a pyramid begin, with biases of 0.
func initLeCun(m any, g *torch.Generator) {
	for _, c := range nn.Modules[*nn.Conv2d](m) {
		nn.LeCunUniform_(c.Weight, g)
		zeroBias(c)
	}
}

func zeroBias(c *nn.Conv2d) {
	if c.Bias.Defined() {
		torch.NoGrad(func() { c.Bias.Zero_() })
	}
}
