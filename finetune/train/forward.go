package train

import (
	"context"
	"errors"
	"fmt"

	"github.com/thaw-ml/thaw/finetune/train/metric"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/data"
	"github.com/thaw-ml/thaw/torch/dist"
	"github.com/thaw-ml/thaw/torch/nn"
)

// Forward runs a model's stages on a device, to predict and to evaluate.
type Forward[B data.Batch[B]] struct {
	Stages    []nn.Stage[B]
	Backend   Backend
	Precision torch.DType
}

// SetEvaluation makes all stages behave as in evaluation: no dropout, running statistics in batch norms.
func (f Forward[B]) SetEvaluation() {
	for _, s := range f.Stages {
		nn.SetTraining(s.Module, false)
	}
}

// Upload gives a batch whose tensors lie on the device, in the caller's scope.
func (f Forward[B]) Upload(b B) B {
	if f.Backend.Device().Type == torch.CPUType {
		return b
	}
	return b.With(f.Bring(b.Tensors(), f.Backend.Device()))
}

// Bring gives CPU tensors on a device, in the caller's scope, without making the CPU wait for it.
func (f Forward[B]) Bring(tensors []torch.Tensor, device torch.Device) []torch.Tensor {
	if device.Type == torch.CPUType {
		return tensors
	}
	pinned := f.Backend.Pin(tensors)
	brought := make([]torch.Tensor, len(pinned))
	for i, t := range pinned {
		brought[i] = emptyLike(t, device)
	}
	copyAll(brought, pinned)
	return brought
}

// Run runs the stages from (included) to to (not included) in inference mode: what it gives can never take part in
// autograd.
func (f Forward[B]) Run(b B, from, to int) (out nn.Values) {
	torch.Inference(func() {
		autocast(f.Precision, func() { out = nn.RunStages(f.Stages[from:to], b, nil) })
	})
	return out
}

// Outputs calls each with the batches that are asked for, in order, and with what the last stage makes of them: float32
// on the CPU, freed when each returns. An error of each's ends it. On a GPU, each must not use a GPU itself.
func (f Forward[B]) Outputs(
	ctx context.Context, set data.Dataset[B], asked []data.Request, each func(b B, output nn.Values) error,
) error {
	for b, err := range data.Batches(ctx, set, asked) {
		if err != nil {
			return err
		}
		if err := f.Output(b, each); err != nil {
			return err
		}
	}
	return nil
}

// Output calls each with a batch and what the last stage makes of it, as Outputs does.
func (f Forward[B]) Output(b B, each func(b B, output nn.Values) error) (err error) {
	torch.Scoped(func() {
		var output nn.Values
		torch.Inference(func() {
			output = f.Run(f.Upload(b), 0, len(f.Stages))
			for i, x := range output {
				output[i] = x.To(torch.Float32).ToDevice(torch.CPU)
			}
		})
		err = each(b, output)
	})
	return err
}

// Evaluate says what Forward.Evaluate measures.
type Evaluate[B data.Batch[B]] struct {
	Batches   []data.Request
	Objective Objective
	// Frozen stages run apart from the others, as in training, so that their output is the same to the last bit; Cache,
	// where not nil, gives it.
	Frozen     int
	Cache      PrefixCache[B]
	OnProgress func(samples int) error // called after each batch; may be nil
	Observer   Observer                // may be nil
	// Group are the processes that evaluate together, each its share of the batches: each of them gets the metrics of all,
	// which are to the last digit those of one process.
	Group *dist.Group
}

// Observer sees what an evaluation sees, for a report of single samples.
type Observer interface {
	// Observe takes the numbers of a batch's samples in the data set, and their output and targets, on their device. As
	// Metric.Add, it does not wait for the device: what it needs later it keeps.
	Observe(samples []int, output, target nn.Values) error
	// Observed comes when the evaluation is over, without an error. It may wait for the device.
	Observed() error
}

// ErrDamaged is the error of an evaluation whose loss is NaN or infinite before anything was trained.
var ErrDamaged = errors.New("the loss is not a finite number: the model's weights are damaged")

// Evaluate measures the model on the batches of a data set. A loss that is no finite number is an ErrNotFinite.
func (f Forward[B]) Evaluate(ctx context.Context, set data.Dataset[B], e Evaluate[B]) (metric.Score, error) {
	m := e.Objective.NewMetric()
	defer m.Close()
	if e.Group != nil {
		if err := f.evaluateTogether(ctx, set, e, m); err != nil {
			return metric.Score{}, fmt.Errorf("evaluating: %w", err)
		}
		return e.score(m)
	}
	samples := 0
	for b, err := range data.Batches(ctx, set, e.Batches) {
		if err != nil {
			return metric.Score{}, fmt.Errorf("evaluating: %w", err)
		}
		torch.Scoped(func() {
			torch.NoGrad(func() { err = f.measure(b, e, m) })
		})
		if err != nil {
			return metric.Score{}, fmt.Errorf("evaluating: %w", err)
		}
		samples += b.Size()
		if e.OnProgress != nil {
			if err := e.OnProgress(samples); err != nil {
				return metric.Score{}, err
			}
		}
	}
	return e.score(m)
}

// score is what a metric came to.
func (e Evaluate[B]) score(m metric.Metric) (metric.Score, error) {
	score, err := m.Score()
	if err == nil && !finite(score.Loss) {
		err = ErrNotFinite
	}
	if err == nil && e.Observer != nil {
		err = e.Observer.Observed()
	}
	if err != nil {
		return metric.Score{}, fmt.Errorf("evaluating: %w", err)
	}
	return score, nil
}

// measure adds a batch to a metric.
func (f Forward[B]) measure(b B, e Evaluate[B], m metric.Metric) (err error) {
	x, b := f.output(b, e)
	autocast(f.Precision, func() { err = m.Add(x, b.Targets()) })
	if err == nil && e.Observer != nil {
		err = e.Observer.Observe(b.Indices(), x, b.Targets())
	}
	return err
}

// output is what the last stage makes of a batch in an evaluation, and the batch on its device.
func (f Forward[B]) output(b B, e Evaluate[B]) (nn.Values, B) {
	device := f.Backend.Device()
	b = f.Upload(b)
	var x nn.Values
	switch {
	case e.Frozen == 0:
	case e.Cache != nil:
		x = e.Cache.Output(b, f.Bring(e.Cache.Inputs(b), device))
	default:
		autocast(f.Precision, func() { x = nn.RunStages(f.Stages[:e.Frozen], b, nil) })
	}
	autocast(f.Precision, func() { x = nn.RunStages(f.Stages[e.Frozen:], b, x) })
	return x, b
}

// emptyLike is memory on a device for a copy of a tensor; undefined for one that is.
func emptyLike(t torch.Tensor, device torch.Device) torch.Tensor {
	if !t.Defined() {
		return t
	}
	return torch.Empty(t.DType(), device, t.Shape()...)
}

func copyAll(to, from []torch.Tensor) {
	for i, t := range from {
		if t.Defined() {
			to[i].CopyAsync_(t)
		}
	}
}

func closeAll(tensors []torch.Tensor) {
	for _, t := range tensors {
		t.Close()
	}
}
