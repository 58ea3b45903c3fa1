// Package onnxtest reads ONNX files in tests and runs them operator by operator on libtorch, so that what package onnx
// writes is seen to be what a model computes without another runtime.
package onnxtest

import (
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/thaw-ml/thaw/torch"
)

// Model is an ONNX file.
type Model struct {
	IRVersion, Opset int64
	Producer         string
	Metadata         map[string]string
	Inputs, Outputs  []Port
	Nodes            []Node
	Weights          map[string]torch.Tensor
	External         int // weights in another file
}

// Port is an input or an output, its dimensions as text: "batch", "3".
type Port struct {
	Name string
	Type int64
	Dims []string
}

// Node is an operator. Attributes are int64, float32, string or []int.
type Node struct {
	Name, Op   string
	In, Out    []string // an empty In is one that is left out
	Attributes map[string]any
}

// fields calls f with each field of a message.
func fields(t testing.TB, b []byte, f func(n protowire.Number, number uint64, bytes []byte)) {
	t.Helper()
	for len(b) > 0 {
		n, kind, size := protowire.ConsumeTag(b)
		require.Positive(t, size, "a tag")
		b = b[size:]
		var number uint64
		var bytes []byte
		switch kind {
		case protowire.VarintType:
			number, size = protowire.ConsumeVarint(b)
		case protowire.Fixed32Type:
			var v uint32
			v, size = protowire.ConsumeFixed32(b)
			number = uint64(v)
		case protowire.BytesType:
			bytes, size = protowire.ConsumeBytes(b)
		default:
			require.Fail(t, "a field of a type that ONNX files here have not", "%v", kind)
		}
		require.GreaterOrEqual(t, size, 0, "a value")
		b = b[size:]
		f(n, number, bytes)
	}
}

// Read reads a file and checks what the format asks for: every name is given once, and before it is used. Its weights
// belong to the caller's scope.
func Read(t testing.TB, path string) *Model {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	m := &Model{Metadata: map[string]string{}, Weights: map[string]torch.Tensor{}}
	fields(t, data, func(n protowire.Number, number uint64, b []byte) {
		switch n {
		case 1:
			m.IRVersion = int64(number)
		case 2:
			m.Producer = string(b)
		case 7:
			m.graph(t, b, filepath.Dir(path))
		case 8:
			fields(t, b, func(n protowire.Number, number uint64, _ []byte) {
				if n == 2 {
					m.Opset = int64(number)
				}
			})
		case 14:
			key, value := pair(t, b)
			require.NotContains(t, m.Metadata, key)
			m.Metadata[key] = value
		}
	})
	m.check(t)
	return m
}

func pair(t testing.TB, b []byte) (key, value string) {
	fields(t, b, func(n protowire.Number, _ uint64, b []byte) {
		if n == 1 {
			key = string(b)
		} else {
			value = string(b)
		}
	})
	return key, value
}

func (m *Model) graph(t testing.TB, b []byte, folder string) {
	fields(t, b, func(n protowire.Number, _ uint64, b []byte) {
		switch n {
		case 1:
			m.Nodes = append(m.Nodes, readNode(t, b))
		case 5:
			m.weight(t, b, folder)
		case 11:
			m.Inputs = append(m.Inputs, readPort(t, b))
		case 12:
			m.Outputs = append(m.Outputs, readPort(t, b))
		}
	})
}

func readNode(t testing.TB, b []byte) Node {
	node := Node{Attributes: map[string]any{}}
	fields(t, b, func(n protowire.Number, _ uint64, b []byte) {
		switch n {
		case 1:
			node.In = append(node.In, string(b))
		case 2:
			node.Out = append(node.Out, string(b))
		case 3:
			node.Name = string(b)
		case 4:
			node.Op = string(b)
		case 5:
			name, value := readAttribute(t, b)
			node.Attributes[name] = value
		}
	})
	return node
}

func readAttribute(t testing.TB, b []byte) (name string, value any) {
	kind, whole, float, bytes, ints := uint64(0), int64(0), float32(0), "", []int{}
	fields(t, b, func(n protowire.Number, number uint64, b []byte) {
		switch n {
		case 1:
			name = string(b)
		case 2:
			float = math.Float32frombits(uint32(number))
		case 3:
			whole = int64(number)
		case 4:
			bytes = string(b)
		case 8:
			ints = append(ints, int(int64(number)))
		case 20:
			kind = number
		}
	})
	value = map[uint64]any{1: float, 2: whole, 3: bytes, 7: ints}[kind]
	require.NotNil(t, value, "the attribute %s has the type %d", name, kind)
	return name, value
}

func readPort(t testing.TB, b []byte) (p Port) {
	dim := func(n protowire.Number, number uint64, b []byte) {
		if n == 2 {
			p.Dims = append(p.Dims, string(b))
		} else {
			p.Dims = append(p.Dims, strconv.FormatUint(number, 10))
		}
	}
	fields(t, b, func(n protowire.Number, _ uint64, b []byte) {
		if n == 1 {
			p.Name = string(b)
			return
		}
		fields(t, b, func(_ protowire.Number, _ uint64, b []byte) {
			fields(t, b, func(n protowire.Number, number uint64, b []byte) {
				if n == 1 {
					p.Type = int64(number)
					return
				}
				fields(t, b, func(_ protowire.Number, _ uint64, b []byte) { fields(t, b, dim) })
			})
		})
	})
	return p
}

func (m *Model) weight(t testing.TB, b []byte, folder string) {
	name, kind, shape, data, external := "", uint64(0), []int{}, []byte(nil), map[string]string{}
	fields(t, b, func(n protowire.Number, number uint64, b []byte) {
		switch n {
		case 1:
			shape = append(shape, int(number))
		case 2:
			kind = number
		case 8:
			name = string(b)
		case 9:
			data = b
		case 13:
			key, value := pair(t, b)
			external[key] = value
		}
	})
	if len(external) > 0 {
		m.External++
		whole, err := os.ReadFile(filepath.Join(folder, external["location"]))
		require.NoError(t, err)
		offset, err := strconv.Atoi(external["offset"])
		require.NoError(t, err)
		length, err := strconv.Atoi(external["length"])
		require.NoError(t, err)
		require.Zero(t, offset%4096, "weights begin at pages")
		data = whole[offset : offset+length]
	}
	dtype, ok := types[int(kind)]
	require.True(t, ok, "%s has the type %d", name, kind)
	require.NotContains(t, m.Weights, name)
	m.Weights[name] = torch.FromBytes(data, dtype, shape...)
}

// check checks that names are there before they are used, and that nothing is there in vain.
func (m *Model) check(t testing.TB) {
	t.Helper()
	given, used, names := map[string]bool{}, map[string]bool{}, map[string]bool{}
	give := func(name string) {
		require.NotEmpty(t, name)
		require.False(t, given[name], "%s is given twice", name)
		given[name] = true
	}
	for _, p := range m.Inputs {
		give(p.Name)
	}
	for name := range m.Weights {
		give(name)
	}
	for _, n := range m.Nodes {
		require.False(t, names[n.Name], "two nodes are %s", n.Name)
		names[n.Name] = true
		require.NotEmpty(t, n.Out, n.Name)
		for _, in := range n.In {
			if in == "" {
				continue
			}
			require.True(t, given[in], "%s reads %s before it is there", n.Name, in)
			used[in] = true
		}
		for i, out := range n.Out {
			give(out)
			used[out] = len(n.Out) > 1 // of several some may be in vain
			require.True(t, i == 0 || n.Op == "TopK", "%s has several outputs", n.Name)
		}
	}
	for _, p := range m.Outputs {
		require.True(t, given[p.Name], "the output %s", p.Name)
		used[p.Name] = true
	}
	for name := range given {
		require.True(t, used[name], "%s is used nowhere", name)
	}
}

// types by the numbers of TensorProto.DataType.
var types = map[int]torch.DType{1: torch.Float32, 7: torch.Int64, 9: torch.Bool, 11: torch.Float64}

// Int64s makes an input of numbers.
func Int64s(list []int64, shape ...int) torch.Tensor {
	var b []byte
	for _, n := range list {
		b = binary.LittleEndian.AppendUint64(b, uint64(n))
	}
	return torch.FromBytes(b, torch.Int64, shape...)
}
