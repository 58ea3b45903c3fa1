package objective

import (
	"fmt"

	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
)

// BalancedWeights makes every class count the same in all: n/(classes*samples of the class), as scikit-learn's "balanced".
// names are the classes, for the error where one has no samples.
func BalancedWeights(t Targets, names []string) ([]float64, error) {
	counts := make([]int, len(names))
	for _, c := range t.Classes {
		counts[c]++
	}
	weights := make([]float64, len(names))
	for i, n := range counts {
		if n == 0 {
			return nil, fmt.Errorf("class %q has no training samples: balanced weights divide by their number", names[i])
		}
		weights[i] = float64(len(t.Classes)) / float64(len(names)*n)
	}
	return weights, nil
}

// BalancedPosWeights makes a label's presence count as much in all as its absence: (n - holds)/holds. names are the labels,
// for the error where one never holds.
func BalancedPosWeights(t Targets, names []string) ([]float64, error) {
	counts := make([]int, len(names))
	for _, labels := range t.Labels {
		for _, label := range labels {
			counts[label]++
		}
	}
	weights := make([]float64, len(names))
	for i, n := range counts {
		if n == 0 {
			return nil, fmt.Errorf("label %q holds of no training sample: balanced weights divide by their number", names[i])
		}
		weights[i] = float64(len(t.Labels)-n) / float64(n)
	}
	return weights, nil
}

// On gives the objective with its weights on a device, and what frees them.
func (c Classification) On(device torch.Device) (train.Objective, func()) {
	if c.Weights == nil {
		return c, func() {}
	}
	c.weights = place(c.Weights, device)
	return c, c.weights.Close
}

// On gives the objective with its weights on a device, and what frees them.
func (l Labels) On(device torch.Device) (train.Objective, func()) {
	if l.PosWeights == nil {
		return l, func() {}
	}
	l.weights = place(l.PosWeights, device)
	return l, l.weights.Close
}

// Weight is what Loss divides by: the samples, or the sum of their classes' weights.
func (c Classification) Weight(target nn.Values) torch.Tensor {
	t := target[0]
	if c.Weights == nil || t.DType().IsFloat() { // probabilities of classes: a mean over samples, as PyTorch's
		return torch.Full(nil, float64(t.Size(0)), torch.Float32, t.Device())
	}
	return c.weightsOn(t.Device()).IndexSelect(0, t).Sum()
}

func (c Classification) weightsOn(device torch.Device) torch.Tensor {
	return placed(c.weights, c.Weights, device)
}

// placed is the tensor that On made, or, without a run, one of the caller's scope; undefined without weights.
func placed(there torch.Tensor, weights []float64, device torch.Device) torch.Tensor {
	if weights == nil || there.Defined() {
		return there
	}
	return inFloat32(weights).ToDevice(device)
}

func place(weights []float64, device torch.Device) torch.Tensor {
	return torch.NewParam(func() torch.Tensor {
		return torch.Tidy(func() torch.Tensor { return inFloat32(weights).ToDevice(device) })
	})
}

func inFloat32(values []float64) torch.Tensor {
	out := make([]float32, len(values))
	for i, v := range values {
		out[i] = float32(v)
	}
	return torch.FromSlice(out)
}

// focal is the mean of -(1-p)^gamma log p over the right classes, weighted where weights are defined: of logits
// [N, classes] and class numbers [N] or probabilities [N, classes].
func focal(logits, target, weights torch.Tensor, gamma float64) torch.Tensor {
	logp := logits.To(torch.Float32).LogSoftmax(1)
	terms := logp.Mul(logp.Exp().Neg().AddScalar(1).PowScalar(gamma))
	if !target.DType().IsFloat() {
		return torch.NLLLoss(terms, target, weights, torch.ReduceMean, -100)
	}
	if weights.Defined() {
		terms = terms.Mul(weights)
	}
	return terms.Mul(target).SumDim(1).Mean().Neg()
}

// focal is the mean of torchvision's sigmoid_focal_loss of logits and targets [N, labels].
func (l Labels) focal(logits, target torch.Tensor) torch.Tensor {
	logits = logits.To(torch.Float32)
	loss := torch.BinaryCrossEntropyWithLogits(logits, target, torch.Tensor{}, placed(l.weights, l.PosWeights, logits.Device()), torch.ReduceNone)
	p := logits.Sigmoid()
	// The probability of what is not the case: p where the label does not hold, else 1-p.
	wrong := p.Add(target).Sub(p.Mul(target).MulScalar(2))
	loss = loss.Mul(wrong.PowScalar(l.FocalGamma))
	if l.FocalAlpha > 0 {
		loss = loss.Mul(target.MulScalar(2*l.FocalAlpha - 1).AddScalar(1 - l.FocalAlpha))
	}
	return loss.Mean()
}
