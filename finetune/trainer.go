package finetune

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"time"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/torch/optim"
)

// trainer makes the steps of a phase.
type trainer[B Samples] struct {
	*run[B]
	plan      *Plan
	cache     *cache[B] // nil: the frozen stages run at every step
	promise   *contract
	optimizer optim.Optimizer
	schedule  optim.Schedule
	params    []torch.Tensor
	top       []float64 // the groups' highest learning rates
	step      int
}

// epoch makes a step of every group of rows and gives the mean loss of the rows.
func (t *trainer[B]) epoch(ctx context.Context, groups [][]int) (float64, error) {
	t.startTraining()
	defer stopTraining(t.model)
	sum, rows := 0.0, 0
	for b, err := range batches(ctx, t.train, groups) {
		if err != nil {
			return 0, err
		}
		loss, err := t.trainStep(b)
		if err != nil {
			return 0, fmt.Errorf("step %d: %w", t.step, err)
		}
		sum += loss * float64(b.Size())
		rows += b.Size()
		t.report.Advance(rows, sum/float64(rows))
	}
	return sum / float64(rows), nil
}

// trainStep moves the parameters once and gives the loss before.
func (t *trainer[B]) trainStep(b B) (loss float64, err error) {
	factor := t.schedule(t.step)
	for i, g := range t.optimizer.Groups() {
		g.LR = t.top[i] * factor
	}
	torch.Scoped(func() {
		x := input(t.model, t.plan, t.cache, b)
		var l torch.Tensor
		t.withPrecision(func() {
			l = t.model.Loss(b, t.model.Forward(b, x, t.plan.Prefix, len(t.plan.Stages)), t.spec.LabelSmoothing)
		})
		if loss = l.Item(); math.IsNaN(loss) || math.IsInf(loss, 0) {
			err = errNotFinite
			return
		}
		l.Backward()
		if t.step == 0 {
			if err = t.promise.checkGradients(); err != nil {
				return
			}
			t.report.Note("check", fmt.Sprintf("frozen hashes taken · %d of %d tensors have gradients", len(t.params), len(t.params)))
		}
		if most := *t.spec.ClipNorm; most > 0 {
			optim.ClipGradNorm(t.params, most)
		}
		t.optimizer.Step()
		t.optimizer.ZeroGrad()
	})
	t.step++
	return loss, err
}

// startTraining switches on dropout and batch norms of the stages in which something is trained. A frozen stage stays as
// it is in evaluation wherever it stands: its running statistics are frozen too.
func (t *trainer[B]) startTraining() {
	for i, s := range t.model.Stages() {
		nn.SetTraining(s.Module, t.plan.Stages[i].Trained)
	}
}

// stopTraining makes the whole model ready for evaluation.
func stopTraining[B Samples](model Model[B]) {
	for _, s := range model.Stages() {
		nn.SetTraining(s.Module, false)
	}
}

// input gives the output of the frozen stages for a batch: kept, or computed now. It is undefined where none is frozen.
func input[B Samples](model Model[B], plan *Plan, c *cache[B], b B) (x torch.Tensor) {
	switch {
	case plan.Prefix == 0:
	case c != nil:
		x = c.batch(b)
	default:
		torch.NoGrad(func() { x = model.Forward(b, torch.Tensor{}, 0, plan.Prefix) })
	}
	return x
}

// evaluate measures the model on the test rows. task names it for the report; "" reports nothing.
func (r *run[B]) evaluate(ctx context.Context, task string, plan *Plan, c *cache[B]) (Metrics, error) {
	began := time.Now()
	defer func() { r.result.Seconds.Evaluate += time.Since(began).Seconds() }()
	if task != "" {
		r.report.Begin(task, r.test.Len())
	}
	counts, loss, rows := newConfusion(len(r.test.Classes())), 0.0, 0
	for b, err := range batches(ctx, r.test, r.testSet.sorted()) {
		if err != nil {
			return Metrics{}, fmt.Errorf("evaluating: %w", err)
		}
		scores := len(counts)
		torch.Scoped(func() {
			torch.NoGrad(func() {
				x := input(r.model, plan, c, b)
				var l torch.Tensor
				r.withPrecision(func() {
					x = r.model.Forward(b, x, plan.Prefix, len(plan.Stages))
					l = r.model.Loss(b, x, 0)
				})
				if scores = x.Size(1); scores != len(counts) {
					return
				}
				loss += l.Item() * float64(b.Size())
				for i, class := range torch.ToSlice[int64](x.Argmax(1)) {
					counts[b.Labels()[i]][class]++
				}
			})
		})
		if scores != len(counts) {
			return Metrics{}, fmt.Errorf("evaluating: the head gives %d scores a row, the data has %d classes", scores, len(counts))
		}
		rows += b.Size()
		if task != "" {
			r.report.Advance(rows, 0)
		}
	}
	if math.IsNaN(loss) || math.IsInf(loss, 0) {
		return Metrics{}, fmt.Errorf("evaluating: %w", errNotFinite)
	}
	m := counts.metrics(loss)
	if task != "" {
		r.report.End(&m)
	}
	return m, nil
}

// Evaluate measures a model on a data set, without a run.
func Evaluate[B Samples](ctx context.Context, model Model[B], data Dataset[B], batchSize int, report Reporter) (Metrics, error) {
	runtime.LockOSThread() // as Run
	defer runtime.UnlockOSThread()
	if report == nil {
		report = silent{}
	}
	r := &run[B]{model: model, test: data, report: report, testSet: newSampler(data, batchSize, 0)}
	stopTraining(model)
	plan := &Plan{Stages: make([]StagePlan, len(model.Stages()))}
	var m Metrics
	var err error
	failure := torch.Try(func() { m, err = r.evaluate(ctx, "evaluate", plan, nil) })
	if failure != nil {
		err = failure
	}
	return m, err
}
