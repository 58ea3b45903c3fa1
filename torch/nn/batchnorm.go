package nn

import (
	"fmt"

	"github.com/thaw-ml/thaw/torch"
)

// BatchNorm normalises each channel of [N, C] or [N, C, ...] (Ioffe and Szegedy 2015): in training by the batch's mean
// and variance, which also move the running ones, otherwise by the running ones. Keys and numbers are those of
// PyTorch's BatchNorm1d, 2d and 3d.
type BatchNorm struct {
	Weight            torch.Tensor `torch:"weight"`                     // [C]
	Bias              torch.Tensor `torch:"bias"`                       // [C]
	RunningMean       torch.Tensor `torch:"running_mean,buffer"`        // [C]
	RunningVar        torch.Tensor `torch:"running_var,buffer"`         // [C], with Bessel's correction
	NumBatchesTracked torch.Tensor `torch:"num_batches_tracked,buffer"` // int64 without dimensions

	Eps      float64 // 1e-5 in PyTorch
	Momentum float64 // the new batch's share of the running statistics, 0.1 in PyTorch
	// ExternalCounter leaves NumBatchesTracked to the training loop, which counts for all layers by one kernel.
	ExternalCounter bool
	// Fixed keeps to the running statistics in training too, and leaves them as they are: where the layer is part of a
	// frozen network that only adapters change.
	Fixed bool
	// Sum, where not nil, adds a tensor up over the processes whose batches are parts of one, recorded by autograd: statistics
	// are then those of all parts together, as of PyTorch's SyncBatchNorm. Each process is to call Forward.
	Sum      func(torch.Tensor) torch.Tensor
	training bool
}

// EmptyBatchNorm makes the layer with memory but no values, to be loaded; only NumBatchesTracked is set, to 0, as
// checkpoints from before PyTorch 0.4.1 lack it.
func EmptyBatchNorm(channels int) *BatchNorm {
	b := &BatchNorm{
		Weight: Empty(channels), Bias: Empty(channels), RunningMean: Empty(channels), RunningVar: Empty(channels),
		Eps: 1e-5, Momentum: 0.1,
	}
	torch.Unscoped(func() { b.NumBatchesTracked = torch.Zeros(torch.Int64, torch.CPU) })
	return b
}

// NewBatchNorm makes the layer as Init leaves it.
func NewBatchNorm(channels int) *BatchNorm {
	b := EmptyBatchNorm(channels)
	b.Init()
	return b
}

// Init sets weight and variance to 1, bias and mean to 0, and forgets the batches seen.
func (b *BatchNorm) Init() {
	torch.NoGrad(func() {
		b.Weight.Fill_(1)
		b.Bias.Zero_()
		b.RunningMean.Zero_()
		b.RunningVar.Fill_(1)
		b.NumBatchesTracked.Zero_()
	})
}

// SetTraining says whether the batch's own statistics are used and the running ones moved, which those of a Fixed layer
// never are.
func (b *BatchNorm) SetTraining(on bool) { b.training = on && !b.Fixed }

// Training reports whether the batch's own statistics are used.
func (b *BatchNorm) Training() bool { return b.training }

// Forward keeps the shape and memory format of x. In training it panics *torch.Error for a batch with one value a
// channel, which has no variance.
func (b *BatchNorm) Forward(x torch.Tensor) torch.Tensor {
	if b.training && b.Sum != nil {
		return b.together(x)
	}
	if b.training {
		if n := x.Numel(); n > 0 && n == x.Size(1) {
			panic(&torch.Error{Op: "batch_norm", Shapes: [][]int{x.Shape()}, DTypes: []torch.DType{x.DType()},
				Msg: fmt.Sprintf("one value in each of %d channels has no variance: train on batches of two or more, "+
					"or on larger images", n)})
		}
		if !b.ExternalCounter {
			b.NumBatchesTracked.AddScalar_(1) // on the device: a captured graph counts too
		}
	}
	const cudnn = true
	return torch.BatchNorm(x, b.Weight, b.Bias, b.RunningMean, b.RunningVar, b.training, b.Momentum, b.Eps, cudnn)
}

// together is Forward in training for a batch of which x is one process's part. Sums are taken of the differences from the
// running mean, which leave more digits than those of large values do.
func (b *BatchNorm) together(x torch.Tensor) torch.Tensor {
	if !b.ExternalCounter {
		b.NumBatchesTracked.AddScalar_(1)
	}
	channels := x.Size(1)
	shape, rest := make([]int, x.Dim()), make([]int, 0, x.Dim())
	for i := range shape {
		shape[i] = 1
		if i != 1 {
			rest = append(rest, i)
		}
	}
	shape[1] = channels
	wide := func(t torch.Tensor) torch.Tensor { return t.View(shape...) }
	away := x.To(torch.Float32).Sub(wide(b.RunningMean))
	count := torch.Full([]int{1}, float64(x.Numel()/channels), torch.Float32, x.Device())
	sums := b.Sum(torch.Cat([]torch.Tensor{away.SumDim(rest...), away.Square().SumDim(rest...), count}, 0))
	n := sums.Narrow(0, 2*channels, 1)
	mean := sums.Narrow(0, 0, channels).Div(n)
	variance := sums.Narrow(0, channels, channels).Div(n).Sub(mean.Square()).ClampMin(0)
	torch.NoGrad(func() {
		b.RunningVar.Lerp_(variance.Mul(n).Div(n.AddScalar(-1)), b.Momentum)
		b.RunningMean.AddScaled_(mean, b.Momentum)
	})
	scale := b.Weight.Mul(variance.AddScalar(b.Eps).Rsqrt())
	return away.Sub(wide(mean)).Mul(wide(scale)).Add(wide(b.Bias)).To(x.DType())
}
