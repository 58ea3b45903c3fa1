package torch

import (
	"fmt"
	"math"
	"runtime"
	"sync/atomic"
	"unsafe"

	"github.com/thaw-ml/thaw/torch/internal/capi"
)

// Scalar is a Go number or bool: an int, a float64, a bool, or any type whose underlying type is a number. A constant
// keeps its kind: Mul by 2 leaves integer tensors integer, by 2.0 makes them floating, as in PyTorch.
type Scalar any

// op is an operator, looked up at its first call.
type op struct {
	name, overload string
	native         atomic.Uintptr
}

func (o *op) String() string {
	if o.overload == "" {
		return o.name
	}
	return o.name + "." + o.overload
}

func (o *op) resolve() capi.Op {
	if n := o.native.Load(); n != 0 {
		return capi.Op(n)
	}
	n, err := capi.FindOp(o.name, o.overload)
	if err != nil {
		panic(failed(o.String(), err))
	}
	o.native.Store(uintptr(n))
	return n
}

// on1 runs an operator on one tensor, all else by default.
func (o *op) on1(a Tensor) Tensor {
	p := a.given(o)
	h, scope, err := o.resolve().CallTensors(p, 0)
	if err != nil {
		panic(failed(o.String(), err, p))
	}
	runtime.KeepAlive(a.h)
	return adopt(h, scope)
}

// on2 runs an operator on two tensors, all else by default.
func (o *op) on2(a, b Tensor) Tensor {
	p, q := a.given(o), b.given(o)
	h, scope, err := o.resolve().CallTensors(p, q)
	if err != nil {
		panic(failed(o.String(), err, p, q))
	}
	runtime.KeepAlive(a.h)
	runtime.KeepAlive(b.h)
	return adopt(h, scope)
}

// given is the native tensor of an argument that must be there.
func (t Tensor) given(o *op) capi.Handle {
	if t.h != nil {
		if p := t.h.ptr(); p != 0 {
			return p
		}
	}
	return t.ptr(o.String()) // panics
}

// call gathers an operator's arguments, runs it, and holds its results. It stays on the stack.
type call struct {
	op    *op
	n     int
	scope int32
	nlist int
	io    [capi.MaxArgs]capi.Value
	list  [32]int64
	spill []int64 // instead of list, when that is too short
}

func (c *call) value(tag, bits int64) {
	c.io[c.n] = capi.Value{Tag: tag, Bits: bits}
	c.n++
}

func (c *call) tensor(t Tensor) {
	c.value(capi.TagTensor, int64(t.given(c.op)))
}

// optTensor passes the zero Tensor as none.
func (c *call) optTensor(t Tensor) {
	if t.h == nil {
		c.none()
		return
	}
	c.tensor(t)
}

func (c *call) none()           { c.value(capi.TagNone, 0) }
func (c *call) byDefault()      { c.value(capi.TagDefault, 0) }
func (c *call) int(v int)       { c.value(capi.TagInt, int64(v)) }
func (c *call) float(v float64) { c.value(capi.TagDouble, int64(math.Float64bits(v))) }
func (c *call) dtype(d DType)   { c.value(capi.TagInt, d.native()) }
func (c *call) device(d Device) {
	c.value(capi.TagDevice, int64(d.Type)<<8|int64(uint8(int8(d.Index))))
}
func (c *call) optDType(d DType) {
	if d == 0 {
		c.none()
		return
	}
	c.dtype(d)
}

func (c *call) bool(v bool) {
	if v {
		c.value(capi.TagBool, 1)
		return
	}
	c.value(capi.TagBool, 0)
}

func (c *call) generator(g *Generator) {
	if g == nil {
		c.none()
		return
	}
	c.value(capi.TagGenerator, int64(g.native()))
}

func (c *call) scalar(v Scalar) {
	switch v := v.(type) {
	case int:
		c.int(v)
	case float64:
		c.float(v)
	case float32:
		c.float(float64(v))
	case int64:
		c.int(int(v))
	case int32:
		c.int(int(v))
	case bool:
		c.bool(v)
	default:
		panic(&Error{Op: c.op.String(), Msg: fmt.Sprintf("a scalar of type %T: give an int, a float64 or a bool", v)})
	}
}

func (c *call) optScalar(v Scalar) {
	if v == nil {
		c.none()
		return
	}
	c.scalar(v)
}

// room gives n places for a list argument and their offset.
func (c *call) room(n int) (offset int, places []int64) {
	offset = c.nlist
	c.nlist += n
	if c.nlist <= len(c.list) {
		return offset, c.list[offset:c.nlist]
	}
	if c.spill == nil {
		c.spill = append(make([]int64, 0, 2*c.nlist), c.list[:offset]...)
	}
	for len(c.spill) < c.nlist {
		c.spill = append(c.spill, 0)
	}
	return offset, c.spill[offset:c.nlist]
}

func (c *call) listValue(tag int64, offset, n int) { c.value(tag, int64(offset)<<32|int64(n)) }

func (c *call) ints(v []int) {
	offset, places := c.room(len(v))
	for i, x := range v {
		places[i] = int64(x)
	}
	c.listValue(capi.TagInts, offset, len(v))
}

// optInts passes nil as none.
func (c *call) optInts(v []int) {
	if v == nil {
		c.none()
		return
	}
	c.ints(v)
}

func (c *call) floats(v []float64)  { c.floatList(capi.TagDoubles, v) }
func (c *call) scalars(v []float64) { c.floatList(capi.TagScalars, v) }
func (c *call) optFloats(v []float64) {
	if v == nil {
		c.none()
		return
	}
	c.floats(v)
}

func (c *call) floatList(tag int64, v []float64) {
	offset, places := c.room(len(v))
	for i, x := range v {
		places[i] = int64(math.Float64bits(x))
	}
	c.listValue(tag, offset, len(v))
}

func (c *call) tensors(v []Tensor) {
	offset, places := c.room(len(v))
	for i, t := range v {
		places[i] = int64(t.ptr(c.op.String()))
	}
	c.listValue(capi.TagTensors, offset, len(v))
}

func (c *call) optTensors(v []Tensor) {
	offset, places := c.room(len(v))
	for i, t := range v {
		places[i] = 0
		if t.h != nil {
			places[i] = int64(t.ptr(c.op.String()))
		}
	}
	c.listValue(capi.TagOptTensors, offset, len(v))
}

func (c *call) string(s string) {
	offset, places := c.room((len(s) + 7) / 8)
	if len(s) > 0 {
		copy(unsafe.Slice((*byte)(unsafe.Pointer(&places[0])), len(s)), s)
	}
	c.listValue(capi.TagString, offset, len(s))
}

func (c *call) lists() []int64 {
	if c.spill != nil {
		return c.spill
	}
	return c.list[:]
}

// run calls the operator and keeps up to wanted results.
func (c *call) run(wanted int) {
	_, scope, err := c.op.resolve().Call(&c.io, c.n, wanted, c.lists())
	if err != nil {
		panic(failed(c.op.String(), err, c.given()...))
	}
	c.scope = scope
}

// given lists the tensors among the arguments, for error messages.
func (c *call) given() []capi.Handle {
	var out []capi.Handle
	lists := c.lists()
	for _, v := range c.io[:c.n] {
		switch v.Tag {
		case capi.TagTensor:
			out = append(out, capi.Handle(v.Bits))
		case capi.TagTensors, capi.TagOptTensors:
			for _, h := range lists[v.Bits>>32:][:v.Bits&0xffffffff] {
				if len(out) < 4 {
					out = append(out, capi.Handle(h))
				}
			}
		}
	}
	return out
}

// result takes the i-th result as a tensor.
func (c *call) result(i int) Tensor { return adopt(capi.Handle(c.io[i].Bits), c.scope) }

// results takes the i-th result as a list of tensors.
func (c *call) results(i int) []Tensor {
	list := capi.TakeList(c.io[i])
	out := make([]Tensor, len(list))
	for j, h := range list {
		out[j] = adopt(capi.Handle(h), c.scope)
	}
	return out
}

func (c *call) boolResult(i int) bool { return c.io[i].Bits != 0 }
