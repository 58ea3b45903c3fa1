package finetune

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"github.com/thaw-ml/thaw/torch"
)

// Inference is a trained model on a device, to predict and to evaluate without a run. It is used from one goroutine at a
// time and is to be closed.
type Inference[B Samples[B]] struct {
	run    *run[B]
	closed bool
}

// NewInference moves a model to a device, where it stays until Close: "cpu", "cuda", "cuda:1", or "auto", the first GPU if
// there is one and the program has CUDA. The precision of its matrix products is "float32", "bfloat16", or "auto", as a
// run chooses it on that device.
func NewInference[B Samples[B]](model Model[B], device, precision string) (*Inference[B], error) {
	r, err := inferenceOf(model, device, precision)
	if err != nil {
		return nil, err
	}
	n := &Inference[B]{run: r}
	if err := n.enter(); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// inferenceOf is a run that only infers. The model stays where it is.
func inferenceOf[B Samples[B]](model Model[B], device, precision string) (*run[B], error) {
	spec := Spec{Device: device, Precision: precision}
	if err := spec.ChooseDevice(); err != nil {
		return nil, err
	}
	m, err := newMachine(&spec)
	if err != nil {
		return nil, err
	}
	return &run[B]{spec: spec, model: model, report: silent{}, machine: m}, nil
}

// Move takes the model to another device, or another precision, as NewInference. Where that fails it stays as it was.
func (n *Inference[B]) Move(device, precision string) error {
	r, err := inferenceOf(n.run.model, device, precision)
	if err != nil {
		return err
	}
	if err := n.leave(); err != nil {
		return err
	}
	before := n.run
	n.run = r
	if err = n.enter(); err == nil {
		return nil
	}
	err = errors.Join(err, n.leave())
	n.run = before
	return errors.Join(err, n.enter())
}

// enter takes the model to the device.
func (n *Inference[B]) enter() error {
	if g, ok := n.run.machine.(*gpu); ok {
		g.lasting = true
	}
	stopTraining(n.run.model)
	if err := n.within(context.Background(), func() error { return nil }); err != nil {
		return fmt.Errorf("moving the model to %v: %w", n.Device(), err)
	}
	return nil
}

// within runs f on the device, where the model is, also if a Run took it away since.
func (n *Inference[B]) within(ctx context.Context, f func() error) error {
	if n.closed {
		return errors.New("the inference was closed")
	}
	return n.inside(ctx, func() error {
		n.run.move(n.Device())
		return f()
	})
}

func (n *Inference[B]) inside(ctx context.Context, f func() error) (err error) {
	runtime.LockOSThread() // as Run
	defer runtime.UnlockOSThread()
	failure := torch.Try(func() { err = n.run.machine.within(ctx, f) })
	return errors.Join(err, failure)
}

// Outputs calls each with the batches that are asked for, in order, and with what the head makes of them: [samples, ...]
// in float32 on the CPU, freed when each returns. An error of each's ends it. On a GPU, each must not use a GPU itself.
func (n *Inference[B]) Outputs(ctx context.Context, data Dataset[B], asked []Request, each func(b B, output torch.Tensor) error) error {
	r := n.run
	return n.within(ctx, func() error {
		for b, err := range batches(ctx, data, asked) {
			if err != nil {
				return err
			}
			torch.Scoped(func() {
				var output torch.Tensor
				torch.Inference(func() {
					b := r.upload(b)
					r.withPrecision(func() { output = r.model.Forward(b, torch.Tensor{}, 0, len(r.model.Stages())) })
					output = output.To(torch.Float32).ToDevice(torch.CPU)
				})
				err = each(b, output)
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Evaluate measures the model on a data set, batchSize samples at a time. A nil report watches in silence.
func (n *Inference[B]) Evaluate(ctx context.Context, data Dataset[B], batchSize int, report Reporter) (m Metrics, err error) {
	r := *n.run
	if report != nil {
		r.report = report
	}
	r.test, r.testSet = data, newSampler(data, batchSize, 0)
	plan := &Plan{Stages: make([]StagePlan, len(r.model.Stages()))}
	err = n.within(ctx, func() (err error) {
		m, err = r.evaluate(ctx, "evaluate", plan, nil)
		return err
	})
	return m, err
}

// Device tells where the model is.
func (n *Inference[B]) Device() torch.Device { return n.run.machine.device() }

// Close takes the model back to the CPU, and gives back what the device kept for it.
func (n *Inference[B]) Close() error {
	if n.closed {
		return nil
	}
	n.closed = true
	return n.leave()
}

// leave takes the model off the device.
func (n *Inference[B]) leave() error {
	if g, ok := n.run.machine.(*gpu); ok {
		g.lasting = false
	}
	return n.inside(context.Background(), func() error { n.run.move(torch.CPU); return nil })
}
