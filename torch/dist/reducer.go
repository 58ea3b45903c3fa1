package dist

import (
	"fmt"
	"runtime"
	"time"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/internal/capi"
)

// The sizes of buckets in bytes, PyTorch's: the first is small, so that there is something to send early in the backward pass.
const (
	firstBucket = 1 << 20
	laterBucket = 25 << 20
)

// Reducer makes the gradients of parameters the mean over all ranks, in buckets, each as soon as the backward pass has its
// gradients: what is sent for one is sent while others are computed. It is libtorch's, the one in PyTorch's
// DistributedDataParallel. Gradients are then views of the buckets.
//
// The order in which elements are added up depends on the parameters alone, not on what went before: a run that is resumed
// comes to the same bits as one that went on.
type Reducer struct {
	group  *Group
	native capi.Reducer
	params []torch.Tensor
}

// NewReducer makes a reducer of leaves that require gradients, one or more, the same ones in the same order on all ranks, float32,
// all on the CPU or on the group's device.
// Gradients that they have stay. It is to be closed before the group.
func (g *Group) NewReducer(params []torch.Tensor) (*Reducer, error) {
	start := time.Now()
	handles, grads := make([]capi.Handle, len(params)), make([]torch.Tensor, len(params))
	for i, p := range params {
		handles[i] = native(p, "reducer")
		if grads[i] = p.Grad(); grads[i].Defined() {
			p.SetGrad(torch.Tensor{}) // the reducer would take it for its bucket's
		}
	}
	r, err := capi.NewReducer(g.of(params[0]), handles, firstBucket, laterBucket)
	runtime.KeepAlive(params)
	if err != nil {
		return nil, g.failed(fmt.Sprintf("agreeing on %d tensors to reduce", len(params)), start, err)
	}
	for i, p := range params {
		p.SetGrad(grads[i])
	}
	return &Reducer{group: g, native: r, params: params}, nil
}

// Arm makes the next backward pass reduce each bucket as its gradients come. Every parameter is to get a gradient in it; those
// that were there before are part of the sum. An error of the backward pass may be one of another rank: [Group.Failed] tells.
func (r *Reducer) Arm() error {
	if err := r.native.Arm(); err != nil {
		return r.group.failed("preparing to reduce gradients", time.Now(), err)
	}
	return nil
}

// Reduce reduces the gradients that the parameters have now; none counts as 0.
func (r *Reducer) Reduce() error {
	start := time.Now()
	if err := r.native.Sync(); err != nil {
		return r.group.failed("adding up gradients", start, err)
	}
	return nil
}

// Buckets are the sizes of the buckets, in bytes.
func (r *Reducer) Buckets() []int64 {
	sizes, err := r.native.Buckets()
	if err != nil {
		panic(&torch.Error{Op: "reducer", Msg: err.Msg})
	}
	return sizes
}

// Close frees the buckets and takes the parameters' gradients away.
func (r *Reducer) Close() {
	if r == nil || r.native == 0 {
		return
	}
	r.native.Free() //nolint:errcheck // there is nothing to do about it
	r.native = 0
	runtime.KeepAlive(r.params)
}
