package fused

import (
	"fmt"
	"runtime"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/internal/capi"
)

// Dropout sets elements of x to 0 with probability p and scales the others by 1/(1-p), and adds plus, a tensor of x's shape
// (undefined for none). On the CPU the mask is drawn on all threads from a key that the default generator gives, and drawn
// again in the backward pass instead of being kept: the same seed gives the same numbers on any number of threads, others
// than torch.Dropout's. Elsewhere it is torch.Dropout. Source of the generator: Salmon et al. 2011, Philox4x32-10.
func Dropout(x, plus torch.Tensor, p float64) torch.Tensor {
	const name = "dropout"
	if !(0 <= p && p <= 1) {
		panic(&torch.Error{Op: name, Msg: fmt.Sprintf("the probability must be from 0 to 1, found %v", p)})
	}
	var b capi.Handle
	if plus.Defined() {
		b = native(plus, name)
	}
	in := native(x, name)
	h, scope, err := capi.Dropout(in, b, p)
	if err != nil {
		panic(failed(name, err, in))
	}
	runtime.KeepAlive(x)
	runtime.KeepAlive(plus)
	return adopt(h, scope)
}
