package finetune

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/finetune/train/metric"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/data"
	"github.com/thaw-ml/thaw/torch/fused"
	"github.com/thaw-ml/thaw/torch/nn"
)

// Inference is a model on a device, to predict and to evaluate without a run. It may be used from many goroutines: one
// call at a time computes. It is to be closed. Servers use package serve, which puts requests together into batches and
// computes on one thread.
type Inference[B data.Batch[B]] struct {
	mutex   sync.Mutex
	model   Model[B]
	forward train.Forward[B]
	packed  *fused.PackedWeights // of Batch; nil before, and where they are no help
	closed  bool
}

// NewInference moves a model to a device, where it stays until Close: "cpu", "cuda", "cuda:1", or "auto", the first GPU
// if there is one and the program has CUDA. The precision of its matrix products is "float32", "bfloat16", or "auto",
// as a run chooses it on that device.
func NewInference[B data.Batch[B]](model Model[B], device, precision string) (*Inference[B], error) {
	n := &Inference[B]{model: model}
	forward, err := n.forwardOn(device, precision)
	if err != nil {
		return nil, err
	}
	n.forward = forward
	if err := n.enter(); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

func (n *Inference[B]) forwardOn(device, precision string) (f train.Forward[B], err error) {
	f.Stages = n.model.Stages()
	f.Backend, f.Precision, err = newBackend(Options{Device: device, Precision: precision})
	return f, err
}

// Move takes the model to another device, or another precision, as NewInference. Where that fails it stays as it was.
func (n *Inference[B]) Move(device, precision string) error {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	forward, err := n.forwardOn(device, precision)
	if err != nil {
		return err
	}
	if err := n.leave(); err != nil {
		return err
	}
	before := n.forward
	n.forward = forward
	if err = n.enter(); err == nil {
		return nil
	}
	leaving := n.leave()
	n.forward = before
	return errors.Join(err, leaving, n.enter())
}

// enter takes the model to the device.
func (n *Inference[B]) enter() error {
	n.forward.Backend.KeepStreams(true)
	n.forward.SetEvaluation()
	if err := n.within(context.Background(), func() error { return nil }); err != nil {
		return fmt.Errorf("moving the model to %v: %w", n.device(), err)
	}
	return nil
}

// leave takes the model off the device.
func (n *Inference[B]) leave() error {
	n.packed.Close()
	n.packed = nil
	n.forward.Backend.KeepStreams(false)
	return n.inside(context.Background(), func() error { n.move(torch.CPU); return nil })
}

func (n *Inference[B]) move(device torch.Device) {
	for _, s := range nn.StageState(n.forward.Stages) {
		s.Tensor.MoveTo(device)
	}
}

// within runs f on the device, where the model is, also if a Fit took it away since.
func (n *Inference[B]) within(ctx context.Context, f func() error) error {
	if n.closed {
		return errors.New("the inference was closed")
	}
	return n.inside(ctx, func() error {
		settle, err := besideTraining(n.model)
		if err != nil {
			return err
		}
		defer settle()
		if err := checkOpen(n.forward.Stages); err != nil {
			return err
		}
		n.forward.SetEvaluation() // a Fit, or whoever trained it otherwise, may have left it as in training
		n.move(n.device())
		return f()
	})
}

func (n *Inference[B]) inside(ctx context.Context, f func() error) error {
	runtime.LockOSThread() // as Fit
	defer runtime.UnlockOSThread()
	return torch.TryErr(func() error { return n.forward.Backend.Within(ctx, f) })
}

// Outputs calls each with the batches that are asked for, in order, and with what the head makes of them: tensors
// [samples, ...] in float32 on the CPU, freed when each returns. An error of each's ends it. On a GPU, each must not use a
// GPU itself.
func (n *Inference[B]) Outputs(
	ctx context.Context, set data.Dataset[B], asked []data.Request, each func(b B, output nn.Values) error,
) error {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	return n.within(ctx, func() error {
		return n.forward.Outputs(ctx, set, asked, each)
	})
}

// PredictOptions say how samples are predicted.
type PredictOptions struct {
	BatchSize int // samples that go through the model together; the default is 64
}

// Size is BatchSize, or its default; a negative one is an error.
func (o PredictOptions) Size() (int, error) {
	if o.BatchSize < 0 {
		return 0, fmt.Errorf("predicting: PredictOptions.BatchSize must be 0 (%d) or above, found %d", DefaultPredictBatch, o.BatchSize)
	}
	return cmp.Or(o.BatchSize, DefaultPredictBatch), nil
}

// DefaultPredictBatch is the default of PredictOptions.BatchSize.
const DefaultPredictBatch = 64

// Batch calls each with a batch and what the head makes of it, as Outputs does. It is for small batches that come again
// and again: on the CPU, in float32, it keeps copies of the weights from the first call until Close or Move, see
// [fused.PackedWeights].
func (n *Inference[B]) Batch(ctx context.Context, b B, each func(b B, output nn.Values) error) error {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	return n.within(ctx, func() (err error) {
		if n.packed == nil && n.device().Type == torch.CPUType && n.forward.Precision == torch.Float32 {
			n.packed = fused.NewPackedWeights()
		}
		n.packed.Use(func() {
			err = n.forward.Output(b, each)
		})
		return err
	})
}

// Evaluate measures the model on a data set, batchSize samples at a time, by its own objective.
func (n *Inference[B]) Evaluate(ctx context.Context, set data.Dataset[B], batchSize int) (metric.Score, error) {
	return n.EvaluateWith(ctx, set, n.model.Objective(), batchSize)
}

// EvaluateWith measures the model by another objective, of other metrics, say.
func (n *Inference[B]) EvaluateWith(
	ctx context.Context, set data.Dataset[B], objective train.Objective, batchSize int,
) (score metric.Score, err error) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	err = n.within(ctx, func() (err error) {
		score, err = n.forward.Evaluate(ctx, set, train.Evaluate[B]{
			Batches:   data.NewSampler(set, data.SamplerOptions{Size: batchSize}).Evaluation(),
			Objective: objective,
		})
		return err
	})
	if errors.Is(err, train.ErrNotFinite) { // nothing trains here
		err = fmt.Errorf("evaluating: %w", train.ErrDamaged)
	}
	return score, err
}

// Device tells where the model is.
func (n *Inference[B]) Device() torch.Device {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	return n.device()
}

func (n *Inference[B]) device() torch.Device { return n.forward.Backend.Device() }

// Close takes the model back to the CPU, and gives back what the device kept for it.
func (n *Inference[B]) Close() error {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	if n.closed {
		return nil
	}
	n.closed = true
	return n.leave()
}
