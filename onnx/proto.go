package onnx

import (
	"encoding/binary"
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// The numbers of fields in onnx.proto (ONNX 1.12 and later).
const (
	modelIRVersion       = 1
	modelProducerName    = 2
	modelProducerVersion = 3
	modelDoc             = 6
	modelGraph           = 7
	modelOpset           = 8
	modelMetadata        = 14

	opsetDomain  = 1
	opsetVersion = 2

	entryKey   = 1
	entryValue = 2

	graphNode        = 1
	graphName        = 2
	graphInitializer = 5
	graphInput       = 11
	graphOutput      = 12

	nodeInput     = 1
	nodeOutput    = 2
	nodeName      = 3
	nodeOp        = 4
	nodeAttribute = 5

	attributeName   = 1
	attributeFloat  = 2
	attributeInt    = 3
	attributeString = 4
	attributeInts   = 8
	attributeType   = 20

	valueName = 1
	valueType = 2

	typeTensor     = 1
	typeElement    = 1
	typeShape      = 2
	shapeDim       = 1
	dimensionValue = 1
	dimensionParam = 2

	tensorDims         = 1
	tensorDataType     = 2
	tensorName         = 8
	tensorRawData      = 9
	tensorExternalData = 13
	tensorDataLocation = 14

	external = 1 // TensorProto.DataLocation.EXTERNAL

	floatAttribute  = 1 // AttributeProto.AttributeType
	intAttribute    = 2
	stringAttribute = 3
	intsAttribute   = 7
)

func number(b []byte, field protowire.Number, n int64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), uint64(n))
}

func text(b []byte, field protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), s)
}

func message(b []byte, field protowire.Number, m []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), m)
}

func entry(key, value string) []byte { return text(text(nil, entryKey, key), entryValue, value) }

// head is the graph without its weights.
func (g *Graph) head() []byte {
	b := text(nil, graphName, g.Name)
	for _, n := range g.nodes {
		b = message(b, graphNode, n.encode())
	}
	for _, p := range g.inputs {
		b = message(b, graphInput, p.encode())
	}
	for _, p := range g.outputs {
		b = message(b, graphOutput, p.encode())
	}
	return b
}

func (n node) encode() (b []byte) {
	for _, v := range n.in {
		b = text(b, nodeInput, string(v))
	}
	for _, v := range n.out {
		b = text(b, nodeOutput, string(v))
	}
	b = text(b, nodeName, n.name)
	b = text(b, nodeOp, n.op)
	for _, a := range n.attributes {
		b = message(b, nodeAttribute, a.encode())
	}
	return b
}

func (a Attribute) encode() []byte {
	b := text(nil, attributeName, a.Name)
	switch v := a.Value.(type) {
	case int:
		b = number(number(b, attributeInt, int64(v)), attributeType, intAttribute)
	case float32:
		b = protowire.AppendFixed32(protowire.AppendTag(b, attributeFloat, protowire.Fixed32Type), math.Float32bits(v))
		b = number(b, attributeType, floatAttribute)
	case string:
		b = number(text(b, attributeString, v), attributeType, stringAttribute)
	case []int:
		for _, n := range v {
			b = number(b, attributeInts, int64(n))
		}
		b = number(b, attributeType, intsAttribute)
	default:
		panic(fmt.Sprintf("onnx: attribute %s: a %T is none of int, float32, string, []int", a.Name, a.Value))
	}
	return b
}

func (p port) encode() []byte {
	var shape []byte
	for _, d := range p.dims {
		if d.Name != "" {
			shape = message(shape, shapeDim, text(nil, dimensionParam, d.Name))
		} else {
			shape = message(shape, shapeDim, number(nil, dimensionValue, int64(d.Size)))
		}
	}
	tensor := message(number(nil, typeElement, int64(p.kind)), typeShape, shape)
	return message(text(nil, valueName, p.name), valueType, message(nil, typeTensor, tensor))
}

// head is a weight without its elements.
func (w *weight) head() (b []byte) {
	for _, d := range w.shape {
		b = number(b, tensorDims, int64(d))
	}
	b = number(b, tensorDataType, int64(w.kind))
	return text(b, tensorName, w.name)
}

func int64s(list []int) (b []byte) {
	for _, n := range list {
		b = binary.LittleEndian.AppendUint64(b, uint64(n))
	}
	return b
}

func float32s(list []float32) (b []byte) {
	for _, x := range list {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return b
}
