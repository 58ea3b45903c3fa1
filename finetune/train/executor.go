package train

import (
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/data"
	"github.com/thaw-ml/thaw/torch/nn"
)

// executor runs steps. There are two: eager runs each step at once, operator by operator; graphs queues steps on a
// device, and replays those whose shapes come often as CUDA graphs. Both run the same step.
type executor[B data.Batch[B]] interface {
	// begin starts an epoch, or goes on with one, in which so many samples have had so much loss.
	begin(lossSum float64, samples int)
	// pack makes what a step reads of a batch, on the loader's goroutine; nil where the step reads the batch itself.
	pack() func(B) []torch.Tensor
	// run makes a step. It gives the newest mean loss of the epoch's samples that is known.
	run(l data.Loaded[B], rates []float64) (loss float64, err error)
	// measured is the number of samples that run's loss is the mean of.
	measured() int
	// loss waits for all steps and gives the mean loss of the epoch's samples.
	loss() (float64, error)
	// sum waits for all steps and gives the loss times samples of the epoch.
	sum() (float64, error)
	// beside runs f, which computes something else between steps, such as an evaluation.
	beside(f func() error) error
	close()
}

// PrefixCache gives the kept output of the frozen stages.
type PrefixCache[B any] interface {
	NumInputs() int
	// Inputs are the NumInputs CPU tensors that must go to the device for a batch's output.
	Inputs(b B) []torch.Tensor
	// Output gives the frozen stages' output for a batch whose inputs are on their device.
	Output(b B, inputs []torch.Tensor) nn.Values
}

// eager runs steps one after the other.
type eager[B data.Batch[B]] struct {
	step    *step[B]
	cache   PrefixCache[B] // nil: the frozen stages run at every step
	lossSum float64        // of loss times samples in the epoch
	samples int
}

func newEager[B data.Batch[B]](s *step[B], cache PrefixCache[B]) *eager[B] {
	e := &eager[B]{step: s, cache: cache}
	check := func(value torch.Tensor) error {
		if !finite(value.Item()) {
			return ErrNotFinite
		}
		return nil
	}
	s.checkLoss, s.checkNorm = check, check
	return e
}

func (e *eager[B]) begin(lossSum float64, samples int) { e.lossSum, e.samples = lossSum, samples }
func (e *eager[B]) pack() func(B) []torch.Tensor       { return nil }
func (e *eager[B]) measured() int                      { return e.samples }

func (e *eager[B]) run(l data.Loaded[B], rates []float64) (loss float64, err error) {
	for i, g := range e.step.optimizer.Groups() {
		g.LR = rates[i]
	}
	err = torch.TryErr(func() (err error) {
		torch.Scoped(func() {
			var x nn.Values
			var mean torch.Tensor
			if l.Samples == 0 {
				mean, err = e.step.absent(torch.CPU)
			} else {
				if e.cache != nil {
					x = e.cache.Output(l.Batch, e.cache.Inputs(l.Batch))
				}
				mean, err = e.step.run(l.Batch, x)
			}
			switch {
			case err == nil:
				loss = mean.Item()
			case l.Samples > 0:
				err = explain(e.step, l.Batch, x, err)
			}
		})
		return err
	})
	samples := l.Samples
	if e.step.together != nil {
		samples = e.step.together.samples
	}
	e.lossSum += loss * float64(samples)
	e.samples += samples
	return e.lossSum / float64(e.samples), err
}

func (e *eager[B]) loss() (float64, error)      { return e.lossSum / float64(e.samples), nil }
func (e *eager[B]) sum() (float64, error)       { return e.lossSum, nil }
func (e *eager[B]) beside(f func() error) error { return f() }
func (e *eager[B]) close()                      {}
