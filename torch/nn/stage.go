package nn

import "github.com/thaw-ml/thaw/torch"

// Values are the tensors that one stage hands to the next: one hidden state mostly, several for a feature pyramid.
type Values []torch.Tensor

// Stage is one of the parts that a model runs one after the other on batches of type B. The boundaries between stages
// are where a model can be cut into a frozen part, whose output can be kept, and a trained one.
type Stage[B any] struct {
	// Name is what selections call the stage, as in "layer.4". A stage without parameters cannot be selected.
	Name string
	// Module holds the stage's parameters and buffers. It is nil for a part without any, such as a pooling: a stage of
	// its own makes its output, rather than its larger input, what is kept when everything before is frozen.
	Module any
	// Key stands before the module's keys in the whole model's checkpoint, with its dot: "bert.encoder.layer.4.".
	Key string
	// PerSample says that the output of this stage, and of those behind it, has one row for each sample, whatever the
	// sample's length. Output of stages before it has one row for each token of a padded batch.
	PerSample bool
	// Forward maps the output of the stage before to this stage's. For the first stage in is empty, and b is read. All
	// tensors of the output have the samples along their first dimension.
	//
	// On a GPU a call may be captured as a CUDA graph: Forward must not read values from the device (Item, ToSlice),
	// and whatever differs from batch to batch must come from the tensors of b.
	Forward func(b B, in Values) Values
	// ForwardWithNext, where not nil, computes this stage and the next together, and is used where both run in one
	// call. It serves stages of which the next reads only a part.
	ForwardWithNext func(b B, in Values) Values
}

// RunStages runs stages one after the other: in is the output of the stage before the first, empty for a model's first
// stage. What a stage computed on the way to its output is freed when the stage is done, unless autograd needs it. The
// output belongs to the caller's scope; in stays the caller's.
func RunStages[B any](stages []Stage[B], b B, in Values) Values {
	x := in
	for i := 0; i < len(stages); i++ {
		forward, first := stages[i].Forward, i == 0
		if fused := stages[i].ForwardWithNext; fused != nil && i+1 < len(stages) {
			forward = fused
			i++
		}
		before := x
		x = torch.TidyAll(func() []torch.Tensor { return forward(b, before) })
		if !first {
			for _, t := range before {
				t.Close()
			}
		}
	}
	return x
}

// StageState lists the parameters and buffers of all stages by their keys in the whole model: what a checkpoint of the
// model holds.
func StageState[B any](stages []Stage[B]) []torch.Named {
	var out []torch.Named
	for _, s := range stages {
		for _, n := range State(s.Module) {
			out = append(out, torch.Named{Name: s.Key + n.Name, Tensor: n.Tensor})
		}
	}
	return out
}
