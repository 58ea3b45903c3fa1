package torch

import "runtime"

func (t Tensor) keepAlive() { runtime.KeepAlive(t.h) }

// To converts the elements to a dtype; t itself where they have it already.
func (t Tensor) To(dtype DType) Tensor {
	if t.DType() == dtype {
		return t
	}
	return t.toCopy(dtype, t.Device())
}

// ToDevice copies t to a device; t itself where it lies there already.
func (t Tensor) ToDevice(d Device) Tensor {
	if now := t.Device(); now == d || now.Type == d.Type && d.Index < 0 {
		return t
	}
	return t.toCopy(t.DType(), d)
}

// Arange counts from start to end, end not included, by 1.
func Arange(start, end int, device Device) Tensor { return ArangeStep(start, end, 1, Int64, device) }
