package boxes

import "github.com/thaw-ml/thaw/torch"

// Focal are the constants of the focal loss (Lin et al. 2017).
type Focal struct {
	Alpha float64 // the weight of positives; that of negatives is 1 - Alpha
	Gamma float64 // the power of what a probability lacks
}

// DefaultFocal is what all detectors here use.
var DefaultFocal = Focal{Alpha: 0.25, Gamma: 2}

// SigmoidLoss gives the focal loss of logits [...] for targets [...], 0 or 1: [...], in float32 at least.
func (f Focal) SigmoidLoss(logits, targets torch.Tensor) torch.Tensor {
	return torch.Tidy(func() torch.Tensor {
		logits, targets := wide(logits), wide(targets)
		p := logits.Sigmoid()
		missing := targets.Add(p).Sub(p.Mul(targets).MulScalar(2)) // 1 - p of what is to be found
		entropy := torch.BinaryCrossEntropyWithLogits(logits, targets, torch.Tensor{}, torch.Tensor{}, torch.ReduceNone)
		weight := targets.MulScalar(2*f.Alpha - 1).AddScalar(1 - f.Alpha)
		return weight.Mul(entropy).Mul(missing.PowScalar(f.Gamma))
	})
}

// ClassLoss is the sum of SigmoidLoss over the classes, without targets for each: of logits [..., K] and class numbers [...]
// (int64), where -1 is none of them: [...].
func (f Focal) ClassLoss(logits, classes torch.Tensor) torch.Tensor {
	return torch.Tidy(func() torch.Tensor {
		logits := wide(logits)
		// As if nothing were to be found, and then the right class apart.
		none := f.part(logits, 1-f.Alpha).SumDim(-1)
		own := logits.Gather(-1, classes.ClampMin(0).Unsqueeze(-1)).SqueezeDim(-1)
		found := f.part(own.Neg(), f.Alpha).Sub(f.part(own, 1-f.Alpha))
		return none.Add(torch.WhereScalarOther(classes.GeScalar(0), found, 0))
	})
}

// part is the loss of logits that should be low.
func (f Focal) part(logits torch.Tensor, weight float64) torch.Tensor {
	return torch.Tidy(func() torch.Tensor {
		loss := logits.LogSigmoid().Sub(logits) // log(1 - p)
		return logits.Sigmoid().PowScalar(f.Gamma).Mul(loss).MulScalar(-weight)
	})
}
