package finetune

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/torch/optim"
)

// trainer makes the steps of a phase.
type trainer[B Samples[B]] struct {
	*run[B]
	plan      *Plan
	cache     *cache[B] // nil: the frozen stages run at every step
	testCache *cache[B]
	promise   *contract
	optimizer optim.Optimizer
	schedule  optim.Schedule
	params    []torch.Tensor
	top       []float64 // the groups' highest learning rates
	step      int
	checked   bool         // every trained parameter has a gradient
	ahead     *conveyor[B] // makes the steps; nil on the CPU
}

// begin makes ready for the steps of a phase: what is trained records gradients, and the frozen stages have run.
func (r *run[B]) begin(ctx context.Context, plan *Plan) (_ *trainer[B], err error) {
	t := &trainer[B]{run: r, plan: plan, params: plan.trained()}
	ready := false
	defer func() {
		if !ready { // an error, or a panic of the model's
			t.Close()
		}
	}()
	plan.apply()
	t.promise = takeContract(plan)
	if t.cache, t.testCache, err = r.fillCaches(ctx, plan); err != nil {
		return nil, err
	}
	phase := plan.Phase
	if t.schedule, err = optim.NewSchedule(phase.Schedule, *phase.WarmUp, plan.Steps); err != nil {
		return nil, err
	}
	groups := plan.groups(*r.spec.Optimizer.WeightDecay)
	for _, g := range groups {
		t.top = append(t.top, g.LR)
	}
	var rates torch.Tensor
	if r.machine != (host{}) {
		t.ahead = newConveyor(t, len(groups), phase.Epochs)
		rates = t.ahead.knobs
	}
	t.optimizer = newOptimizer(r.spec.Optimizer, groups, rates)
	ready = true
	return t, nil
}

// Close frees what the phase made beside the model, and leaves that at rest.
func (t *trainer[B]) Close() {
	if t.ahead != nil {
		t.ahead.Close()
	}
	if t.optimizer != nil {
		t.optimizer.Close()
	}
	t.cache.Close()
	t.testCache.Close()
	t.plan.release()
}

// requests are the batches of an epoch.
func (t *trainer[B]) requests(epoch int) []Request {
	asked := t.trainSet.training(t.spec.Seed, epoch)
	if t.cache != nil {
		for i := range asked {
			asked[i].From = t.plan.Prefix
		}
	}
	return asked
}

// epoch makes a step of every batch that is asked for and gives the mean loss of the rows.
func (t *trainer[B]) epoch(ctx context.Context, asked []Request) (float64, error) {
	t.startTraining()
	defer stopTraining(t.model)
	if t.ahead != nil {
		return t.ahead.epoch(ctx, asked)
	}
	sum, rows := 0.0, 0
	for b, err := range batches(ctx, t.train, asked) {
		if err != nil {
			return 0, err
		}
		loss, err := t.trainStep(b)
		if err != nil {
			return 0, fmt.Errorf("step %d: %w", t.step+1, err)
		}
		sum += loss * float64(b.Size())
		rows += b.Size()
		t.report.Advance(rows, sum/float64(rows))
	}
	return sum / float64(rows), nil
}

// evaluate measures the model after an epoch.
func (t *trainer[B]) evaluate(ctx context.Context) (m Metrics, err error) {
	if t.ahead == nil {
		return t.run.evaluate(ctx, "", t.plan, t.testCache)
	}
	err = t.ahead.besideRecordings(func() (err error) {
		m, err = t.run.evaluate(ctx, "", t.plan, t.testCache)
		return err
	})
	return m, err
}

// trainStep moves the parameters once, on the CPU, and gives the loss before.
func (t *trainer[B]) trainStep(b B) (loss float64, err error) {
	factor := t.schedule(t.step)
	for i, g := range t.optimizer.Groups() {
		g.LR = t.top[i] * factor
	}
	failure := torch.Try(func() {
		torch.Scoped(func() {
			x := t.input(t.plan, t.cache, b)
			var l torch.Tensor
			t.withPrecision(func() {
				l = t.model.Loss(b, t.model.Forward(b, x, t.plan.Prefix, len(t.plan.Stages)), t.spec.LabelSmoothing)
			})
			if loss = l.Item(); math.IsNaN(loss) || math.IsInf(loss, 0) {
				err = errNotFinite
				return
			}
			l.Backward()
			err = t.improve()
		})
	})
	if err = errors.Join(err, failure); err == nil {
		t.step++
	}
	return loss, err
}

// improve moves the parameters by their gradients, and drops those.
func (t *trainer[B]) improve() error {
	if t.step == 0 && !t.checked {
		if err := t.promise.checkGradients(); err != nil {
			return err
		}
		t.report.Note("check", fmt.Sprintf("frozen hashes taken · %d of %d tensors have gradients", len(t.params), len(t.params)))
		t.checked = true
	}
	if most := *t.spec.ClipNorm; most > 0 {
		optim.ClipGradNorm(t.params, most)
	}
	t.optimizer.Step()
	t.optimizer.ZeroGrad()
	return nil
}

// startTraining switches on dropout and batch norms of the stages in which something is trained. A frozen stage stays as
// it is in evaluation wherever it stands: its running statistics are frozen too.
func (t *trainer[B]) startTraining() {
	for i, s := range t.model.Stages() {
		nn.SetTraining(s.Module, t.plan.Stages[i].Trained)
	}
}

// stopTraining makes the whole model ready for evaluation.
func stopTraining[B Samples[B]](model Model[B]) {
	for _, s := range model.Stages() {
		nn.SetTraining(s.Module, false)
	}
}

// input gives the output of the frozen stages for a batch: kept, or computed now. It is undefined where none is frozen.
func (r *run[B]) input(plan *Plan, c *cache[B], b B) (x torch.Tensor) {
	switch {
	case plan.Prefix == 0:
	case c != nil:
		x = c.batch(b, r.machine.device())
	default:
		x = r.prefix(plan, b)
	}
	return x
}

// prefix runs the frozen stages on a batch.
func (r *run[B]) prefix(plan *Plan, b B) (x torch.Tensor) {
	torch.NoGrad(func() {
		r.withPrecision(func() { x = r.model.Forward(b, torch.Tensor{}, 0, plan.Prefix) })
	})
	return x
}

// upload gives a batch whose tensors lie on the run's device, in the caller's scope.
func (r *run[B]) upload(b B) B {
	device := r.machine.device()
	if device.Type == torch.CPUType {
		return b
	}
	return b.With(r.bring(b.Tensors(), device))
}

// bring gives CPU tensors on a device without making the CPU wait for it, in the caller's scope.
func (r *run[B]) bring(tensors []torch.Tensor, device torch.Device) []torch.Tensor {
	if device.Type == torch.CPUType {
		return tensors
	}
	pinned := r.machine.pin(tensors)
	brought := make([]torch.Tensor, len(pinned))
	for i, t := range pinned {
		brought[i] = room(t, device)
	}
	copyAll(brought, pinned)
	return brought
}
