package nn

import "github.com/thaw-ml/thaw/torch"

// Norm normalises the channels of [N, C, ...]: a [BatchNorm], [FrozenBatchNorm] or [GroupNorm].
type Norm interface {
	Forward(x torch.Tensor) torch.Tensor
	Init() // leaves x as it is, up to Eps
}

// FrozenBatchNorm is a batch norm that never trains: it normalises by kept statistics in training too, and all it has are
// buffers. Keys and numbers are those of torchvision's FrozenBatchNorm2d.
type FrozenBatchNorm struct {
	Weight      torch.Tensor `torch:"weight,buffer"`       // [C]
	Bias        torch.Tensor `torch:"bias,buffer"`         // [C]
	RunningMean torch.Tensor `torch:"running_mean,buffer"` // [C]
	RunningVar  torch.Tensor `torch:"running_var,buffer"`  // [C]

	Eps float64 // 1e-5 in torchvision; 0 where its first COCO checkpoints of Faster R-CNN and RetinaNet are loaded
}

// EmptyFrozenBatchNorm makes the layer with memory but no values, to be loaded.
func EmptyFrozenBatchNorm(channels int) *FrozenBatchNorm {
	return &FrozenBatchNorm{
		Weight: Empty(channels), Bias: Empty(channels), RunningMean: Empty(channels), RunningVar: Empty(channels), Eps: 1e-5,
	}
}

// Init sets weight and variance to 1, bias and mean to 0.
func (b *FrozenBatchNorm) Init() {
	torch.NoGrad(func() {
		b.Weight.Fill_(1)
		b.Bias.Zero_()
		b.RunningMean.Zero_()
		b.RunningVar.Fill_(1)
	})
}

// Forward keeps the shape and memory format of x, [N, C, ...]. As the layer's numbers need no gradients, nothing is kept for
// the backward pass but a scale for each channel.
func (b *FrozenBatchNorm) Forward(x torch.Tensor) torch.Tensor {
	if !torch.GradEnabled() || !x.RequiresGrad() {
		const training, momentum, cudnn = false, 0, true
		return torch.BatchNorm(x, b.Weight, b.Bias, b.RunningMean, b.RunningVar, training, momentum, b.Eps, cudnn)
	}
	return torch.Tidy(func() torch.Tensor {
		scale := b.Weight.Mul(b.RunningVar.AddScalar(b.Eps).Rsqrt())
		shift := b.Bias.Sub(b.RunningMean.Mul(scale))
		wide := make([]int, x.Dim())
		for i := range wide {
			wide[i] = 1
		}
		wide[1] = scale.Size(0)
		return shift.View(wide...).To(x.DType()).Addcmul(x, scale.View(wide...).To(x.DType()), 1)
	})
}
