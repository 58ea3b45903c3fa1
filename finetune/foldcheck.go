package finetune

import (
	"fmt"

	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/data"
	"github.com/thaw-ml/thaw/torch/fused"
	"github.com/thaw-ml/thaw/torch/nn"
)

// How far folding may move the largest output, relative to it: ten times what rounding was seen to.
const (
	foldBound     = 1e-4
	foldBoundHalf = 0.1 // in 16 bits
)

// checkFolding runs the network on the first samples with batch norms folded into the convolutions before them, as frozen stages
// and evaluations do, and layer by layer. Where the two are not the same, nothing is folded in the run, and a warning says so. undo is to
// be called at its end.
func (r *run[B]) checkFolding() (undo func(), err error) {
	undo = func() {}
	if r.backend.Asynchronous() || !r.hasNorms() {
		return undo, nil
	}
	away, err := r.foldedAway()
	bound := foldBound
	if r.forward.Precision != torch.Float32 {
		bound = foldBoundHalf
	}
	if err != nil || away <= bound {
		return undo, err
	}
	before := fused.FoldNorms(false)
	return func() { fused.FoldNorms(before) }, r.warn(train.NotFolded, "with batch norms folded into convolutions the network's output is %.2g of its largest "+
		"number away from what it is layer by layer, where rounding comes to less than %.2g: nothing is folded in this run, which makes frozen stages "+
		"and evaluations slower; please report it with the model's name and what thaw doctor prints", away, bound)
}

// folds reports whether norms are folded.
func (r *run[B]) folds() bool { return fused.FoldsNorms() && r.hasNorms() }

// hasNorms reports whether there is anything to fold.
func (r *run[B]) hasNorms() bool {
	for _, s := range r.forward.Stages {
		for range nn.Modules[nn.Norm](s.Module) {
			return true
		}
	}
	return false
}

// foldedAway is the largest difference, relative to the largest number.
func (r *run[B]) foldedAway() (away float64, err error) {
	asked := r.trainSampler.Evaluation()
	if len(asked) == 0 {
		return 0, nil
	}
	first := data.Request{Indices: asked[0].Indices[:min(2, len(asked[0].Indices))]}
	b, err := r.train.Batch(first)
	if err != nil {
		return 0, fmt.Errorf("comparing folded with unfolded norms: %w", err)
	}
	defer closeBatch(b)
	if b.Size() == 0 { // neither can be read
		return 0, nil
	}
	err = torch.ScopedErr(func() error {
		folded := r.forward.Run(b, 0, len(r.forward.Stages))
		before := fused.FoldNorms(false)
		defer fused.FoldNorms(before)
		for i, want := range r.forward.Run(b, 0, len(r.forward.Stages)) {
			if !want.DType().IsFloat() {
				continue
			}
			want := want.To(torch.Float64)
			largest := want.Abs().Max().Item()
			d := folded[i].To(torch.Float64).Sub(want).Abs().Max().Item()
			switch {
			case largest > 0:
				away = max(away, d/largest)
			case d > 0:
				away = 1
			}
			if d != d && largest == largest { // NaN in one of them alone
				away = 1
			}
		}
		return nil
	})
	return away, err
}
