package onnx

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"

	"github.com/thaw-ml/thaw/torch"
)

// Value is the name of what an input, a weight or a node gives.
type Value string

// Type is the type of elements, as TensorProto.DataType numbers them.
type Type int32

// The types that the graphs here have.
const (
	Float  Type = 1 // float32
	Int64  Type = 7
	Bool   Type = 9
	Double Type = 11
)

// Dim is a dimension of an input or output: a number, or a name that stands for any number.
type Dim struct {
	Size int
	Name string // where it is not empty, Size is not fixed
}

// Fixed is a dimension of a known size.
func Fixed(size int) Dim { return Dim{Size: size} }

// Dynamic is a dimension that may differ from call to call; dimensions of one name are equal.
func Dynamic(name string) Dim { return Dim{Name: name} }

// Attribute is a constant argument of a node: Value is an int, a float32, a string or []int.
type Attribute struct {
	Name  string
	Value any
}

// Graph computes outputs from inputs. Nodes are added in the order in which they are computed. It keeps the tensors of
// its weights, which must live until it is saved.
type Graph struct {
	Name string

	inputs, outputs []port
	weights         []weight
	nodes           []node
	taken           map[string]bool // names of values and nodes
}

// port is an input or an output.
type port struct {
	name string
	kind Type
	dims []Dim
}

// weight is a constant of the graph.
type weight struct {
	name  string
	kind  Type
	shape []int
	bytes func() []byte // the elements, row-major, little-endian
}

// size is how many bytes the elements take.
func (w weight) size() int64 {
	n := map[Type]int64{Float: 4, Int64: 8, Bool: 1, Double: 8}[w.kind]
	for _, d := range w.shape {
		n *= int64(d)
	}
	return n
}

type node struct {
	name, op   string
	in, out    []Value
	attributes []Attribute
}

// NewGraph makes an empty graph.
func NewGraph(name string) *Graph { return &Graph{Name: name, taken: map[string]bool{}} }

// unique is a name that nothing has yet: name itself, or with a number.
func (g *Graph) unique(name string) string {
	free := name
	for i := 1; g.taken[free]; i++ {
		free = name + "_" + strconv.Itoa(i)
	}
	g.taken[free] = true
	return free
}

// Input adds an input.
func (g *Graph) Input(name string, kind Type, dims ...Dim) Value {
	name = g.unique(name)
	g.inputs = append(g.inputs, port{name, kind, dims})
	return Value(name)
}

// Output makes a value an output of the graph, under a name of its own.
func (g *Graph) Output(v Value, name string, kind Type, dims ...Dim) {
	name = g.unique(name)
	g.nodes = append(g.nodes, node{name: g.unique("Identity"), op: "Identity", in: []Value{v}, out: []Value{Value(name)}})
	g.outputs = append(g.outputs, port{name, kind, dims})
}

// Op adds a node and gives its output. An empty input stands for one that is left out.
func (g *Graph) Op(op, name string, in []Value, attributes ...Attribute) Value {
	return g.OpOf(op, name, 1, in, attributes...)[0]
}

// OpOf is Op for an operator with so many outputs.
func (g *Graph) OpOf(op, name string, outputs int, in []Value, attributes ...Attribute) []Value {
	name = g.unique(name)
	out := make([]Value, outputs)
	for i := range out {
		out[i] = Value(g.unique(name + "_output"))
	}
	g.nodes = append(g.nodes, node{name, op, in, out, attributes})
	return out
}

// Weight adds a tensor of float32 elements, whatever device it is on and however it lies in memory. A tensor of another
// type panics *torch.Error.
func (g *Graph) Weight(name string, t torch.Tensor) Value {
	return g.addWeight(name, t, t.Shape(), t.Bytes)
}

// Transposed adds a matrix [m, n] of float32 elements as [n, m].
func (g *Graph) Transposed(name string, t torch.Tensor) Value {
	shape := t.Shape()
	if len(shape) != 2 {
		panic(&torch.Error{Op: "onnx", Shapes: [][]int{shape}, Msg: name + " is no matrix"})
	}
	return g.addWeight(name, t, []int{shape[1], shape[0]}, func() (data []byte) {
		torch.Scoped(func() { torch.NoGrad(func() { data = t.T().Contiguous().Bytes() }) })
		return data
	})
}

func (g *Graph) addWeight(name string, t torch.Tensor, shape []int, bytes func() []byte) Value {
	if d := t.DType(); d != torch.Float32 {
		panic(&torch.Error{Op: "onnx", Shapes: [][]int{shape}, DTypes: []torch.DType{d},
			Msg: fmt.Sprintf("%s is %v; weights of a graph are float32", name, d)})
	}
	name = g.unique(name)
	g.weights = append(g.weights, weight{name, Float, shape, bytes})
	return Value(name)
}

// Ints adds a constant list of numbers, [n].
func (g *Graph) Ints(name string, list ...int) Value {
	return g.constant(name, Int64, []int{len(list)}, int64s(list))
}

// Int adds a constant number, without dimensions.
func (g *Graph) Int(name string, n int) Value { return g.constant(name, Int64, nil, int64s([]int{n})) }

// Floats adds a constant tensor of a shape, its numbers row by row.
func (g *Graph) Floats(name string, shape []int, list ...float32) Value {
	n := 1
	for _, d := range shape {
		n *= d
	}
	if n != len(list) {
		panic(&torch.Error{Op: "onnx", Shapes: [][]int{shape}, Msg: fmt.Sprintf("%s has %d numbers", name, len(list))})
	}
	return g.constant(name, Float, shape, float32s(list))
}

// Double adds a constant number of the type Double, without dimensions.
func (g *Graph) Double(name string, x float64) Value {
	return g.constant(name, Double, nil, binary.LittleEndian.AppendUint64(nil, math.Float64bits(x)))
}

// Scalar adds a constant number, without dimensions.
func (g *Graph) Scalar(name string, x float32) Value {
	return g.constant(name, Float, nil, float32s([]float32{x}))
}

func (g *Graph) constant(name string, kind Type, shape []int, data []byte) Value {
	name = g.unique(name)
	g.weights = append(g.weights, weight{name, kind, shape, func() []byte { return data }})
	return Value(name)
}
