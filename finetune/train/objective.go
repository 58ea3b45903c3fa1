package train

import (
	"github.com/thaw-ml/thaw/finetune/train/metric"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
)

// Objective is what training minimises and evaluation measures. Package objective has the usual ones.
type Objective interface {
	// Loss compares the last stage's output with a batch's targets: a tensor without dimensions, the mean over the
	// samples. It may be captured as part of a CUDA graph, see nn.Stage.
	Loss(output, target nn.Values) torch.Tensor
	// NewMetric starts a measurement.
	NewMetric() metric.Metric
}

// Placed is an objective that reads tensors of its own, such as weights of classes: On gives one that has them on a
// device, for a run there, and what frees them.
type Placed interface {
	On(device torch.Device) (Objective, func())
}
