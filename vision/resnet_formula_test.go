package vision_test

import (
	"math"
	"strings"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/torch/torchtest"
	"github.com/thaw-ml/thaw/vision"
)

// The formulas of testdata/resnet.py.

// fill gives a network the formula's weights.
func fill(r *vision.ResNet) {
	last := ".bn3."
	if r.Architecture == "resnet18" || r.Architecture == "resnet34" {
		last = ".bn2."
	}
	for _, s := range nn.State(r) {
		shape := s.Tensor.Shape()
		middle, spread, alternate := 0.2, 0.02, false
		switch isLast := strings.Contains(s.Name, last); {
		case strings.HasSuffix(s.Name, ".num_batches_tracked"):
			continue
		case len(shape) == 4:
			middle, spread = 0, math.Sqrt(6/float64(shape[1]*shape[2]*shape[3]))
		case strings.HasPrefix(s.Name, "fc."):
			middle, spread = 0, 0.02
		case strings.HasSuffix(s.Name, "running_mean"):
			middle, spread = 0, 0.1
		case strings.HasSuffix(s.Name, "running_var"):
			middle, spread = 1, 0.25
		case strings.HasSuffix(s.Name, "bias") && isLast:
			middle, spread, alternate = 0.25, 0.02, true
		case strings.HasSuffix(s.Name, "bias"):
			middle, spread, alternate = 0.5, 0.05, true
		case isLast:
			middle, spread = 0.1, 0.01
		}
		torch.Scoped(func() {
			values := torch.FromSlice(torchtest.Numbers(s.Name, s.Tensor.Numel(), middle, spread, alternate), shape...)
			torch.NoGrad(func() { s.Tensor.Copy_(values) })
		})
	}
}

func images(name string, n, size int) torch.Tensor {
	return torch.FromSlice(torchtest.Numbers(name, n*3*size*size, 0, math.Sqrt(3), false), n, 3, size, size)
}

func labels(name string, n, classes int) torch.Tensor {
	return torch.FromSlice(torchtest.Whole(name, n, classes))
}
