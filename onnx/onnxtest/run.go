package onnxtest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
)

// Run computes the model's first output of inputs, as the operators' definitions say. It belongs to the caller's scope.
func (m *Model) Run(t testing.TB, inputs map[string]torch.Tensor) (out torch.Tensor) {
	t.Helper()
	return m.RunAll(t, inputs)[0]
}

// RunAll is Run of all outputs.
func (m *Model) RunAll(t testing.TB, inputs map[string]torch.Tensor) (out []torch.Tensor) {
	t.Helper()
	require.Len(t, inputs, len(m.Inputs))
	values := map[string]torch.Tensor{}
	for name, w := range m.Weights {
		values[name] = w
	}
	for _, p := range m.Inputs {
		require.Contains(t, inputs, p.Name)
		values[p.Name] = inputs[p.Name]
	}
	return torch.TidyAll(func() (out []torch.Tensor) {
		torch.NoGrad(func() {
			for _, n := range m.Nodes {
				in := make([]torch.Tensor, len(n.In))
				for i, name := range n.In {
					in[i] = values[name]
				}
				if n.Op == "TopK" {
					values[n.Out[0]], values[n.Out[1]] = topK(n, in)
					continue
				}
				operator, ok := operators[n.Op]
				require.True(t, ok, "the operator %s is not known here", n.Op)
				values[n.Out[0]] = operator(n, in)
			}
			for _, p := range m.Outputs {
				out = append(out, values[p.Name].Clone())
			}
		})
		return out
	})
}

func (n Node) integer(name string, otherwise int) int {
	if v, ok := n.Attributes[name].(int64); ok {
		return int(v)
	}
	return otherwise
}

func (n Node) ints(name string) []int { return n.Attributes[name].([]int) }

func (n Node) float(name string) float64 { return float64(n.Attributes[name].(float32)) }

func list(t torch.Tensor) (out []int) {
	for _, n := range torch.ToSlice[int64](t) {
		out = append(out, int(n))
	}
	return out
}

// operators of opset 17, as far as they are met.
var operators = map[string]func(n Node, in []torch.Tensor) torch.Tensor{
	"Identity": func(_ Node, in []torch.Tensor) torch.Tensor { return in[0].Alias() },
	"Add":      func(_ Node, in []torch.Tensor) torch.Tensor { return in[0].Add(in[1]) },
	"Mul":      func(_ Node, in []torch.Tensor) torch.Tensor { return in[0].Mul(in[1]) },
	"Sub":      func(_ Node, in []torch.Tensor) torch.Tensor { return in[0].Sub(in[1]) },
	"Max":      func(_ Node, in []torch.Tensor) torch.Tensor { return in[0].Maximum(in[1]) },
	"Min":      func(_ Node, in []torch.Tensor) torch.Tensor { return in[0].Minimum(in[1]) },
	"Mod":      func(_ Node, in []torch.Tensor) torch.Tensor { return in[0].Remainder(in[1]) },
	"Sqrt":     func(_ Node, in []torch.Tensor) torch.Tensor { return in[0].Sqrt() },
	"Exp":      func(_ Node, in []torch.Tensor) torch.Tensor { return in[0].Exp() },
	"Log":      func(_ Node, in []torch.Tensor) torch.Tensor { return in[0].Log() },
	"Floor":    func(_ Node, in []torch.Tensor) torch.Tensor { return in[0].Floor() },
	"Equal":    func(_ Node, in []torch.Tensor) torch.Tensor { return in[0].Eq(in[1]) },
	"Greater":  func(_ Node, in []torch.Tensor) torch.Tensor { return in[0].Gt(in[1]) },
	"MatMul":   func(_ Node, in []torch.Tensor) torch.Tensor { return in[0].MatMul(in[1]) },
	"Erf":      func(_ Node, in []torch.Tensor) torch.Tensor { return in[0].Erf() },
	"Tanh":     func(_ Node, in []torch.Tensor) torch.Tensor { return in[0].Tanh() },
	"Relu":     func(_ Node, in []torch.Tensor) torch.Tensor { return in[0].ReLU() },
	"Sigmoid":  func(_ Node, in []torch.Tensor) torch.Tensor { return in[0].Sigmoid() },
	"Where":    func(_ Node, in []torch.Tensor) torch.Tensor { return torch.Where(in[0], in[1], in[2]) },
	"Softmax":  func(n Node, in []torch.Tensor) torch.Tensor { return in[0].Softmax(n.integer("axis", -1)) },
	"Flatten":  func(n Node, in []torch.Tensor) torch.Tensor { return in[0].Flatten(n.integer("axis", 1), -1) },
	"GreaterOrEqual": func(_ Node, in []torch.Tensor) torch.Tensor {
		return in[0].Ge(in[1])
	},
	"LessOrEqual": func(_ Node, in []torch.Tensor) torch.Tensor {
		return in[0].Le(in[1])
	},
	"Div": func(_ Node, in []torch.Tensor) torch.Tensor {
		if in[0].DType() == torch.Int64 {
			return in[0].DivRounded(in[1], "trunc")
		}
		return in[0].Div(in[1])
	},
	"Concat": func(n Node, in []torch.Tensor) torch.Tensor { return torch.Cat(in, n.integer("axis", 0)) },
	"Expand": func(_ Node, in []torch.Tensor) torch.Tensor { return in[0].Expand(list(in[1])...) },
	"Transpose": func(n Node, in []torch.Tensor) torch.Tensor {
		return in[0].Permute(n.ints("perm")...)
	},
	"Cast": func(n Node, in []torch.Tensor) torch.Tensor {
		return in[0].To(types[n.integer("to", 0)])
	},
	"Gather": func(n Node, in []torch.Tensor) torch.Tensor {
		axis := n.integer("axis", 0)
		shape := in[0].Shape()
		index := in[1].Shape()
		out := append(append(append([]int{}, shape[:axis]...), index...), shape[axis+1:]...)
		return in[0].IndexSelect(axis, in[1].Reshape(-1)).Reshape(out...)
	},
	"Shape": func(_ Node, in []torch.Tensor) torch.Tensor {
		var shape []int64
		for _, d := range in[0].Shape() {
			shape = append(shape, int64(d))
		}
		return Int64s(shape, len(shape))
	},
	"Slice": func(_ Node, in []torch.Tensor) torch.Tensor { // of one axis, without steps
		start, end, axis := list(in[1])[0], list(in[2])[0], list(in[3])[0]
		end = min(end, in[0].Size(axis))
		return in[0].Narrow(axis, start, end-start)
	},
	"Reshape": func(_ Node, in []torch.Tensor) torch.Tensor {
		shape := list(in[1])
		for i, d := range shape {
			if d == 0 {
				shape[i] = in[0].Size(i)
			}
		}
		return in[0].Reshape(shape...)
	},
	"Unsqueeze": func(_ Node, in []torch.Tensor) torch.Tensor {
		x := in[0].Alias()
		for _, axis := range list(in[1]) {
			x = x.Unsqueeze(axis)
		}
		return x
	},
	"Squeeze": func(_ Node, in []torch.Tensor) torch.Tensor { return in[0].SqueezeDim(list(in[1])[0]) },
	"ReduceSum": func(n Node, in []torch.Tensor) torch.Tensor {
		if n.integer("keepdims", 1) == 1 {
			return in[0].SumKeepDim(list(in[1])...)
		}
		return in[0].SumDim(list(in[1])...)
	},
	"LayerNormalization": func(n Node, in []torch.Tensor) torch.Tensor {
		return torch.LayerNorm(in[0], []int{in[0].Size(-1)}, in[1], in[2], n.float("epsilon"))
	},
	"Conv": func(n Node, in []torch.Tensor) torch.Tensor {
		var bias torch.Tensor
		if len(in) > 2 {
			bias = in[2]
		}
		strides, pads, dilations := n.ints("strides"), n.ints("pads")[:2], n.ints("dilations")
		return torch.Conv2d(in[0], in[1], bias, strides, pads, dilations, n.integer("group", 1))
	},
	"BatchNormalization": func(n Node, in []torch.Tensor) torch.Tensor {
		return torch.BatchNorm(in[0], in[1], in[2], in[3], in[4], false, 0, n.float("epsilon"), false)
	},
	"MaxPool": func(n Node, in []torch.Tensor) torch.Tensor {
		kernel, strides, pads := n.ints("kernel_shape"), n.ints("strides"), n.ints("pads")[:2]
		return torch.MaxPool2d(in[0], kernel, strides, pads, []int{1, 1}, n.integer("ceil_mode", 0) == 1)
	},
	"GlobalAveragePool": func(_ Node, in []torch.Tensor) torch.Tensor {
		return torch.AdaptiveAvgPool2d(in[0], []int{1, 1})
	},
}
