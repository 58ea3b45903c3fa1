// Package bridge hands functions of package torch that its documentation does not show to the packages under torch/
// that call libtorch themselves (docs/decisions/003). Package torch sets them when it is initialised; they are of type
// any because this package, which torch imports, cannot name torch.Tensor.
package bridge

var (
	Native any // func(t torch.Tensor, op string) capi.Handle: panics, naming op, where there is none
	Adopt  any // func(h capi.Handle, scope int32) torch.Tensor: takes h over for a scope
	Failed any // func(op string, err *capi.Error, given ...capi.Handle) *torch.Error
	DType  any // func(d torch.DType) int64: c10::ScalarType
	Count  any // func(n int64): adds to the live tensors that torch.Stats counts
)
