package nn

import "github.com/thaw-ml/thaw/torch"

// CrossEntropy is the mean over the batch of -log softmax(logits)[class], with logits [N, C] and classes [N] (int64).
// smoothing moves that much of the target to all classes evenly (Szegedy et al. 2016).
func CrossEntropy(logits, classes torch.Tensor, smoothing float64) torch.Tensor {
	return torch.CrossEntropyLoss(logits, classes, torch.Tensor{}, torch.ReduceMean, -100, smoothing)
}
