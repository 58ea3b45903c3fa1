package finetune

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/thaw-ml/thaw/torch"
)

// evaluate measures the model on the test rows. task names it for the report; "" reports nothing.
func (r *run[B]) evaluate(ctx context.Context, task string, plan *Plan, c *cache[B]) (Metrics, error) {
	began := time.Now()
	defer func() { r.result.Seconds.Evaluate += time.Since(began).Seconds() }()
	if task != "" {
		r.report.Begin(task, r.test.Len())
	}
	asked := requests(longFirst(r.testSet.sorted()), 0)
	if c != nil {
		for i := range asked {
			asked[i].From = plan.Prefix
		}
	}
	classes := len(r.test.Classes())
	var seen verdicts
	defer seen.Close()
	rows := 0
	for b, err := range batches(ctx, r.test, asked) {
		if err != nil {
			return Metrics{}, fmt.Errorf("evaluating: %w", err)
		}
		scores := classes
		torch.Scoped(func() {
			torch.NoGrad(func() {
				b := r.upload(b)
				x := r.input(plan, c, b)
				var l torch.Tensor
				r.withPrecision(func() {
					x = r.model.Forward(b, x, plan.Prefix, len(plan.Stages))
					l = r.model.Loss(b, x, 0)
				})
				if scores = x.Size(1); scores == classes {
					seen.add(b.Labels(), x, l)
				}
			})
		})
		if scores != classes {
			return Metrics{}, fmt.Errorf("evaluating: the head gives %d scores a row, the data has %d classes", scores, classes)
		}
		rows += b.Size()
		if task != "" {
			r.report.Advance(rows, 0)
		}
	}
	counts, loss, err := seen.count(classes)
	if err != nil {
		return Metrics{}, fmt.Errorf("evaluating: %w", err)
	}
	if math.IsNaN(loss) || math.IsInf(loss, 0) {
		if task != "" { // nothing was trained
			return Metrics{}, errors.New("evaluating: the loss is not a finite number: the model's weights are damaged")
		}
		return Metrics{}, fmt.Errorf("evaluating: %w", errNotFinite)
	}
	m := counts.metrics(loss)
	if task != "" {
		r.report.End(&m)
	}
	return m, nil
}

// verdicts collects what the model says, on its device, so that no batch waits for the one before.
type verdicts struct {
	labels    []int
	predicted []torch.Tensor // [N] int64, of each batch
	losses    []torch.Tensor // float64, times the batch's rows
}

func (v *verdicts) add(labels []int, output, loss torch.Tensor) {
	v.labels = append(v.labels, labels...)
	v.predicted = append(v.predicted, torch.Keep(output.Argmax(1)))
	v.losses = append(v.losses, torch.Keep(loss.To(torch.Float64).MulScalar(float64(len(labels)))))
}

// count gives the confusion matrix and the sum of the rows' losses.
func (v *verdicts) count(classes int) (counts confusion, loss float64, err error) {
	counts = newConfusion(classes)
	if len(v.labels) == 0 {
		return counts, 0, nil
	}
	torch.Scoped(func() {
		for i, class := range torch.ToSlice[int64](torch.Cat(v.predicted, 0)) {
			if class < 0 || class >= int64(classes) {
				err = fmt.Errorf("row %d is of class %d, where there are %d: the device computes wrongly", i, class, classes)
				return
			}
			counts[v.labels[i]][class]++
		}
		for _, l := range torch.ToSlice[float64](torch.Stack(v.losses, 0)) {
			loss += l
		}
	})
	return counts, loss, err
}

func (v *verdicts) Close() {
	closeTensors(v.predicted)
	closeTensors(v.losses)
}
