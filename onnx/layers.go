package onnx

import (
	"fmt"
	"math"
	"slices"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
)

// Layers adds layers of torch/nn to a graph. Key is always the layer's name in the state, "bert.pooler.dense": its
// weights are State's "bert.pooler.dense.weight" and so on, so that those of adapters are merged (nn.MergedState). A
// layer that is added more than once has its weights in the graph once.
type Layers struct {
	*Graph
	State map[string]torch.Tensor

	added map[string]Value // weights that are in the graph
}

// NewLayers makes an empty graph for layers of a state.
func NewLayers(name string, state []torch.Named) Layers {
	l := Layers{NewGraph(name), map[string]torch.Tensor{}, map[string]Value{}}
	for _, n := range state {
		l.State[n.Name] = n.Tensor
	}
	return l
}

// tensor is one of the state; that there is none is a mistake of the caller's.
func (l Layers) tensor(name string) torch.Tensor {
	t, ok := l.State[name]
	if !ok {
		panic(&torch.Error{Op: "onnx", Msg: fmt.Sprintf("the model's state has no %q", name)})
	}
	return t
}

// once gives the weight of a name, which add adds where it is not in the graph yet.
func (l Layers) once(name string, add func() Value) Value {
	v, ok := l.added[name]
	if !ok {
		v = add()
		if l.added != nil {
			l.added[name] = v
		}
	}
	return v
}

// weight is a tensor of the state in the graph.
func (l Layers) weight(name string) Value {
	return l.once(name, func() Value { return l.Weight(name, l.tensor(name)) })
}

// Linear maps x [..., in] to [..., out], as nn.Linear.
func (l Layers) Linear(x Value, key string) Value {
	name := key + ".weight.T"
	w := l.once(name, func() Value { return l.Transposed(name, l.tensor(key+".weight")) })
	x = l.Op("MatMul", key+"/MatMul", []Value{x, w})
	if _, ok := l.State[key+".bias"]; ok {
		x = l.Op("Add", key+"/Add", []Value{x, l.weight(key + ".bias")})
	}
	return x
}

// Embedding maps ids [...] to rows of the table, [..., dim], as nn.Embedding.
func (l Layers) Embedding(ids Value, key string) Value {
	return l.Op("Gather", key+"/Gather", []Value{l.weight(key + ".weight"), ids}, Attribute{"axis", 0})
}

// LayerNorm normalises the last dimension of x, as norm.
func (l Layers) LayerNorm(x Value, key string, norm *nn.LayerNorm) Value {
	in := []Value{x, l.weight(key + ".weight"), l.weight(key + ".bias")}
	return l.Op("LayerNormalization", key+"/LayerNormalization", in,
		Attribute{"axis", -1}, Attribute{"epsilon", float32(norm.Eps)})
}

// Conv2d maps x [N, in, H, W] to [N, out, H', W'], as conv.
func (l Layers) Conv2d(x Value, key string, conv *nn.Conv2d) Value {
	w := l.tensor(key + ".weight")
	in := []Value{x, l.weight(key + ".weight")}
	if _, ok := l.State[key+".bias"]; ok {
		in = append(in, l.weight(key+".bias"))
	}
	p := conv.Padding
	return l.Op("Conv", key+"/Conv", in,
		Attribute{"dilations", conv.Dilation[:]}, Attribute{"group", conv.Groups}, Attribute{"kernel_shape", w.Shape()[2:]},
		Attribute{"pads", []int{p[0], p[1], p[0], p[1]}}, Attribute{"strides", conv.Stride[:]})
}

// BatchNorm normalises each channel of x [N, C, ...] by the running statistics, as norm does outside of training.
func (l Layers) BatchNorm(x Value, key string, norm *nn.BatchNorm) Value {
	return l.batchNorm(x, key, norm.Eps)
}

func (l Layers) batchNorm(x Value, key string, eps float64) Value {
	in := []Value{x}
	for _, name := range []string{"weight", "bias", "running_mean", "running_var"} {
		in = append(in, l.weight(key+"."+name))
	}
	return l.Op("BatchNormalization", key+"/BatchNormalization", in, Attribute{"epsilon", float32(eps)})
}

// GroupNorm normalises each group of channels of x [N, C, H, W], as norm. It is written as an InstanceNormalization of
// the groups, since opset 17 has no operator of this name.
func (l Layers) GroupNorm(x Value, key string, norm *nn.GroupNorm) Value {
	op := func(op string, in ...Value) Value { return l.Op(op, key+"/"+op, in) }
	constant := func(name string, x float32) Value {
		return l.once(key+name, func() Value {
			return l.Floats(key+name, []int{norm.Groups}, slices.Repeat([]float32{x}, norm.Groups)...)
		})
	}
	perChannel := func(name string) Value { // [C, 1, 1]
		shape := l.once(key+".channels", func() Value { return l.Ints(key+".channels", -1, 1, 1) })
		return op("Reshape", l.weight(key+name), shape)
	}
	groups := l.once(key+".groups", func() Value { return l.Ints(key+".groups", 0, norm.Groups, -1) })
	in := []Value{op("Reshape", x, groups), constant(".ones", 1), constant(".zeros", 0)}
	y := l.Op("InstanceNormalization", key+"/InstanceNormalization", in, Attribute{"epsilon", float32(norm.Eps)})
	y = op("Reshape", y, op("Shape", x))
	return op("Add", op("Mul", y, perChannel(".weight")), perChannel(".bias"))
}

// Norm normalises x [N, C, H, W] as norm does outside of training: a *nn.BatchNorm, *nn.FrozenBatchNorm or
// *nn.GroupNorm. Another one panics *torch.Error.
func (l Layers) Norm(x Value, key string, norm nn.Norm) Value {
	switch norm := norm.(type) {
	case *nn.BatchNorm:
		return l.batchNorm(x, key, norm.Eps)
	case *nn.FrozenBatchNorm:
		return l.batchNorm(x, key, norm.Eps)
	case *nn.GroupNorm:
		return l.GroupNorm(x, key, norm)
	}
	panic(&torch.Error{Op: "onnx", Msg: fmt.Sprintf("%s is a %T, which has no form in ONNX files", key, norm)})
}

// MaxPool2d takes the largest value of each window of x [N, C, H, W], as pool.
func (l Layers) MaxPool2d(x Value, key string, pool nn.MaxPool2d) Value {
	stride := pool.Stride
	if stride == 0 {
		stride = pool.Kernel
	}
	ceil := 0
	if pool.Ceil {
		ceil = 1
	}
	p := pool.Padding
	return l.Op("MaxPool", key+"/MaxPool", []Value{x}, Attribute{"ceil_mode", ceil},
		Attribute{"kernel_shape", []int{pool.Kernel, pool.Kernel}}, Attribute{"pads", []int{p, p, p, p}},
		Attribute{"strides", []int{stride, stride}})
}

// Activation applies the function that nn.Activation finds by the name, element by element. A name that it does not
// know is an error.
func (l Layers) Activation(x Value, key, name string) (Value, error) {
	unary := map[string]string{"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid"}
	switch name {
	case "gelu":
		return l.gelu(x, key), nil
	case "gelu_new", "gelu_pytorch_tanh":
		return l.geluTanh(x, key), nil
	case "silu", "swish":
		return l.Op("Mul", key+"/Mul", []Value{x, l.Op("Sigmoid", key+"/Sigmoid", []Value{x})}), nil
	case "relu", "tanh", "sigmoid":
		return l.Op(unary[name], key+"/"+unary[name], []Value{x}), nil
	}
	return "", fmt.Errorf("the activation %q is not known in ONNX files", name)
}

// gelu is x/2 (1 + erf(x/sqrt 2)), the parts of the operator Gelu, which opset 17 does not have.
func (l Layers) gelu(x Value, key string) Value {
	inner := l.Op("Div", key+"/Div", []Value{x, l.Scalar(key+".sqrt2", math.Sqrt2)})
	inner = l.Op("Add", key+"/Add", []Value{l.Op("Erf", key+"/Erf", []Value{inner}), l.Scalar(key+".one", 1)})
	inner = l.Op("Mul", key+"/Mul", []Value{x, inner})
	return l.Op("Mul", key+"/Mul", []Value{inner, l.Scalar(key+".half", 0.5)})
}

// geluTanh is x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) (Hendrycks and Gimpel 2016).
func (l Layers) geluTanh(x Value, key string) Value {
	mul := func(a, b Value) Value { return l.Op("Mul", key+"/Mul", []Value{a, b}) }
	add := func(a, b Value) Value { return l.Op("Add", key+"/Add", []Value{a, b}) }
	cube := mul(mul(mul(x, x), x), l.Scalar(key+".cubic", 0.044715))
	inner := mul(add(x, cube), l.Scalar(key+".scale", float32(math.Sqrt(2/math.Pi))))
	inner = add(l.Op("Tanh", key+"/Tanh", []Value{inner}), l.Scalar(key+".one", 1))
	return mul(mul(x, inner), l.Scalar(key+".half", 0.5))
}
