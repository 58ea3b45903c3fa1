package nn

import "github.com/thaw-ml/thaw/torch"

// MaxPool2d takes the largest value of each window.
type MaxPool2d struct {
	Kernel  int
	Stride  int  // 0 stands for the kernel's size
	Padding int  // with -Inf
	Ceil    bool // windows may hang over the end: sizes are rounded up
}

// Forward maps [N, C, H, W] to [N, C, H', W'], H' as Conv2d's.
func (p MaxPool2d) Forward(x torch.Tensor) torch.Tensor {
	return torch.MaxPool2d(x, square(p.Kernel), square(strideOr(p.Stride, p.Kernel)), square(p.Padding), square(1), p.Ceil)
}

// AvgPool2d takes the mean of each window.
type AvgPool2d struct {
	Kernel     int
	Stride     int  // 0 stands for the kernel's size
	Padding    int  // with zeros
	Ceil       bool // windows may hang over the end: sizes are rounded up
	ExcludePad bool // padding does not count in the mean; in PyTorch it does by default
}

// Forward maps [N, C, H, W] to [N, C, H', W'], H' as Conv2d's.
func (p AvgPool2d) Forward(x torch.Tensor) torch.Tensor {
	stride := square(strideOr(p.Stride, p.Kernel))
	return torch.AvgPool2d(x, square(p.Kernel), stride, square(p.Padding), p.Ceil, !p.ExcludePad)
}

// AdaptiveAvgPool2d takes means over windows that together cover the image, whatever its size.
type AdaptiveAvgPool2d struct{ H, W int }

// Forward maps [N, C, any, any] to [N, C, H, W].
func (p AdaptiveAvgPool2d) Forward(x torch.Tensor) torch.Tensor {
	return torch.AdaptiveAvgPool2d(x, []int{p.H, p.W})
}

func square(n int) []int { return []int{n, n} }

func strideOr(stride, kernel int) int {
	if stride == 0 {
		return kernel
	}
	return stride
}
