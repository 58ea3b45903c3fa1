package capi

/*
#include "capi.h"
*/
import "C"

// Backward adds the gradients of roots to the .grad of inputs, or of all leaves when there are no inputs. A 0 in
// grads stands for ones.
func Backward(roots, grads, inputs []Handle, retain, create bool) *Error {
	return failure(C.thaw_backward(handles(roots), handles(grads), C.int64_t(len(roots)), handles(inputs),
		C.int64_t(len(inputs)), flag(retain), flag(create)))
}

// Grad gives the gradients of roots with respect to inputs.
func Grad(roots, grads, inputs []Handle, retain, create, allowUnused bool) ([]Handle, int32, *Error) {
	out := make([]Handle, len(inputs))
	var scope C.int32_t
	err := failure(C.thaw_grad(handles(roots), handles(grads), C.int64_t(len(roots)), handles(inputs),
		C.int64_t(len(inputs)), flag(retain), flag(create), flag(allowUnused), handles(out), &scope))
	return out, int32(scope), err
}

// TensorGrad is the tensor's .grad, 0 for none.
func TensorGrad(t Handle) (Handle, int32, *Error) {
	var g C.thaw_tensor
	var scope C.int32_t
	err := failure(C.thaw_tensor_grad(C.thaw_tensor(t), &g, &scope))
	return Handle(g), int32(scope), err
}

// SetGrad sets or, with 0, drops the tensor's .grad.
func SetGrad(t, grad Handle) *Error {
	return failure(C.thaw_tensor_set_grad(C.thaw_tensor(t), C.thaw_tensor(grad)))
}

// Accumulator holds the node that collects the gradient of a leaf on the CPU; 0 for none.
type Accumulator uintptr

// SetRequiresGrad says whether autograd records what is done with a leaf.
func SetRequiresGrad(t Handle, on bool) (Accumulator, *Error) {
	var a C.uintptr_t
	err := failure(C.thaw_tensor_set_requires_grad(C.thaw_tensor(t), flag(on), &a))
	return Accumulator(a), err
}

// Free gives the node up.
func (a Accumulator) Free() {
	if a != 0 {
		C.thaw_accumulator_free(C.uintptr_t(a))
	}
}

// RetainGrad makes backward keep the .grad of a tensor that is no leaf.
func RetainGrad(t Handle) *Error { return failure(C.thaw_tensor_retain_grad(C.thaw_tensor(t))) }

// GradFn names the recorded operator that made the tensor, "" for none.
func GradFn(t Handle) (string, *Error) {
	var s *C.char
	err := failure(C.thaw_tensor_grad_fn(C.thaw_tensor(t), &s))
	return takeString(s), err
}

// SetData gives t the data of src.
func SetData(t, src Handle) *Error {
	return failure(C.thaw_tensor_set_data(C.thaw_tensor(t), C.thaw_tensor(src)))
}
