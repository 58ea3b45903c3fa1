package nn

import (
	"fmt"
	"math"

	"github.com/thaw-ml/thaw/torch"
)

// LoRAOptions say how a LoRA adapts a layer.
type LoRAOptions struct {
	Rank  int     // of the change of the weight, 1 or more: "r"
	Alpha float64 // the change is scaled by Alpha / Rank
	// Dropout, in [0, 1), is the share of the layer's input that the adapter does not see in training. An embedding has
	// none, as its input is numbers of rows.
	Dropout float64
	RSLoRA  bool // scales by Alpha / sqrt(Rank) (Kalajdzievski 2023)
}

// Scale is what B A is multiplied by.
func (o LoRAOptions) Scale() float64 {
	if o.RSLoRA {
		return o.Alpha / math.Sqrt(float64(o.Rank))
	}
	return o.Alpha / float64(o.Rank)
}

// LoRA is an adapter whose change of the layer's weight has a low rank: scale B A, of which A and B are trained and the
// weight is not (Hu et al. 2021). Parameters, keys and initial values are those of Hugging Face's PEFT: a new one
// changes nothing, as one of its two matrices is 0.
type LoRA interface {
	Merging
	Options() LoRAOptions
}

// AddLoRA gives a layer a new LoRA in place of the adapter that it has: [*LoRALinear], [*LoRAConv2d] or
// [*LoRAEmbedding]. Its parameters lie where the layer's do and live until Close of the layer. A convolution with
// groups is an error: the change of its weight would be one between groups, which the weight cannot hold.
func AddLoRA(layer Adaptable, o LoRAOptions, g *torch.Generator) error {
	if o.Rank < 1 {
		return fmt.Errorf("the rank of a LoRA must be 1 or more, found %d", o.Rank)
	}
	if !(0 <= o.Dropout && o.Dropout < 1) {
		return fmt.Errorf("the dropout of a LoRA must be from 0 to below 1, found %v", o.Dropout)
	}
	if math.IsNaN(o.Alpha) || math.IsInf(o.Alpha, 0) {
		return fmt.Errorf("the alpha of a LoRA must be a number, found %v", o.Alpha)
	}
	var a LoRA
	switch l := layer.(type) {
	case *Linear:
		a = newLoRALinear(l, o, g)
	case *Conv2d:
		if l.Groups > 1 {
			return fmt.Errorf("a convolution with %d groups takes no LoRA", l.Groups)
		}
		a = newLoRAConv2d(l, o, g)
	case *Embedding:
		a = newLoRAEmbedding(l, o, g)
	default:
		return fmt.Errorf("a %T takes no LoRA, only linear layers, convolutions and embeddings do", layer)
	}
	weight, _ := layer.Base()
	MoveTo(a, weight.Device())
	*layer.Adapted() = a
	return nil
}

// LoRALinear is the LoRA of a [Linear].
type LoRALinear struct {
	A       *Linear  `torch:"lora_A"` // [rank, in], drawn as a linear layer is
	B       *Linear  `torch:"lora_B"` // [out, rank], 0 at first
	Dropout *Dropout `torch:""`
	options LoRAOptions
}

func newLoRALinear(l *Linear, o LoRAOptions, g *torch.Generator) *LoRALinear {
	out, in := l.Weight.Size(0), l.Weight.Size(1)
	return &LoRALinear{
		A:       NewLinear(in, o.Rank, LinearOptions{NoBias: true}, g),
		B:       &Linear{Weight: Constant(0, out, o.Rank)},
		Dropout: &Dropout{P: o.Dropout}, options: o,
	}
}

// Options gives what the adapter was made with.
func (a *LoRALinear) Options() LoRAOptions { return a.options }

// Forward adds scale B A x, x being [..., in] and y [..., out]. The scale is applied to the narrow A x.
func (a *LoRALinear) Forward(x, y torch.Tensor) torch.Tensor {
	low := a.A.Forward(a.Dropout.Forward(x)).MulScalar(a.options.Scale()) // [..., rank]
	return y.Add(a.B.Forward(low))
}

// Delta is scale B A, [out, in].
func (a *LoRALinear) Delta() torch.Tensor {
	return a.B.Weight.MatMul(a.A.Weight).MulScalar(a.options.Scale())
}

// LoRAConv2d is the LoRA of a [Conv2d]: A is a convolution like the layer's with few channels out, B one of single
// pixels.
type LoRAConv2d struct {
	A       *Conv2d  `torch:"lora_A"` // [rank, in, kernel height, kernel width], drawn as a convolution is
	B       *Conv2d  `torch:"lora_B"` // [out, rank, 1, 1], 0 at first
	Dropout *Dropout `torch:""`
	options LoRAOptions
}

func newLoRAConv2d(c *Conv2d, o LoRAOptions, g *torch.Generator) *LoRAConv2d {
	shape := c.Weight.Shape()
	a := &Conv2d{
		Weight: Empty(o.Rank, shape[1], shape[2], shape[3]), Groups: 1, Stride: c.Stride, Padding: c.Padding, Dilation: c.Dilation,
	}
	a.Init(g)
	b := EmptyConv2d(o.Rank, shape[0], 1, ConvOptions{NoBias: true})
	b.Weight.Zero_()
	return &LoRAConv2d{A: a, B: b, Dropout: &Dropout{P: o.Dropout}, options: o}
}

// Options gives what the adapter was made with.
func (a *LoRAConv2d) Options() LoRAOptions { return a.options }

// Forward adds scale B(A(x)), x being [N, in, H, W] and y [N, out, H', W'].
func (a *LoRAConv2d) Forward(x, y torch.Tensor) torch.Tensor {
	low := a.A.Forward(a.Dropout.Forward(x)).MulScalar(a.options.Scale()) // [N, rank, H', W']
	return y.Add(a.B.Forward(low))
}

// Delta is scale B A, [out, in, kernel height, kernel width].
func (a *LoRAConv2d) Delta() torch.Tensor {
	shape := a.A.Weight.Shape()
	shape[0] = a.B.Weight.Size(0)
	return a.B.Weight.Flatten(1, -1).MatMul(a.A.Weight.Flatten(1, -1)).MulScalar(a.options.Scale()).View(shape...)
}

// LoRAEmbedding is the LoRA of an [Embedding].
type LoRAEmbedding struct {
	A       torch.Tensor `torch:"lora_embedding_A"` // [rank, num], 0 at first
	B       torch.Tensor `torch:"lora_embedding_B"` // [dim, rank], drawn from N(0, 1)
	padding int
	options LoRAOptions
}

func newLoRAEmbedding(e *Embedding, o LoRAOptions, g *torch.Generator) *LoRAEmbedding {
	num, dim := e.Weight.Size(0), e.Weight.Size(1)
	return &LoRAEmbedding{A: Constant(0, o.Rank, num), B: Normal(0, 1, g, dim, o.Rank), padding: e.Padding, options: o}
}

// Options gives what the adapter was made with.
func (a *LoRAEmbedding) Options() LoRAOptions { return a.options }

// Forward adds scale B A of the rows, ids being [...] and y [..., dim].
func (a *LoRAEmbedding) Forward(ids, y torch.Tensor) torch.Tensor {
	low := torch.Embedding(a.A.T(), ids, a.padding).MulScalar(a.options.Scale()) // [..., rank]
	return y.Add(low.MatMul(a.B.T()))
}

// Delta is scale (B A)^T, [num, dim].
func (a *LoRAEmbedding) Delta() torch.Tensor {
	return a.B.MatMul(a.A).T().MulScalar(a.options.Scale())
}
