package nn

import (
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/fused"
)

// Dropout sets elements to 0 with probability P in training and scales the others by 1/(1-P); outside training it does
// nothing (Srivastava et al. 2014). The masks come from the default generator, on the CPU by way of [fused.Dropout].
type Dropout struct {
	P        float64
	training bool
}

// SetTraining says whether Forward drops.
func (d *Dropout) SetTraining(on bool) { d.training = on }

// Training reports whether Forward drops.
func (d *Dropout) Training() bool { return d.training && d.P > 0 }

// Forward keeps the shape of x.
func (d *Dropout) Forward(x torch.Tensor) torch.Tensor {
	if !d.Training() {
		return x
	}
	return fused.Dropout(x, torch.Tensor{}, d.P)
}

// ForwardAdd is Forward(x) plus residual, which has the shape of x, in one pass on the CPU.
func (d *Dropout) ForwardAdd(x, residual torch.Tensor) torch.Tensor {
	if !d.Training() {
		return x.Add(residual)
	}
	return fused.Dropout(x, residual, d.P)
}
