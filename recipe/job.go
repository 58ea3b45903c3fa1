package recipe

import (
	"context"
	"fmt"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/finetune/lora"
	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/internal/quantity"
	"github.com/thaw-ml/thaw/torch/data"
)

// job is what the tasks of all kinds do alike: they train a model on data sets as a spec says. A task embeds it.
type job[B data.Batch[B]] struct {
	spec     *Spec
	adapters *lora.Adapters // nil: none

	network           finetune.Model[B]
	trainSet, testSet data.Dataset[B]
	objective         func() (train.Objective, error)
	shown             shown
	// explained says how a spec goes on without what an error of the data sets is about; nil leaves errors as they are.
	explained func(error) error
	// skipped tells of samples that turned out damaged, "" when there were none; nil where none is left out.
	skipped func() string
}

// Train implements Task.
func (j *job[B]) Train(ctx context.Context, onEvent func(finetune.Event) error) (*finetune.Result, error) {
	return j.run(ctx, onEvent, false)
}

// Resume implements Task.
func (j *job[B]) Resume(ctx context.Context, onEvent func(finetune.Event) error) (*finetune.Result, error) {
	return j.run(ctx, onEvent, true)
}

func (j *job[B]) run(ctx context.Context, onEvent func(finetune.Event) error, resume bool) (*finetune.Result, error) {
	o, err := j.options(onEvent)
	if err != nil {
		return nil, err
	}
	o.Resume = resume
	result, err := fit(ctx, j.spec, j.network, j.trainSet, j.testSet, o, j.shown)
	if err == nil && j.skipped != nil && onEvent != nil {
		if skipped := j.skipped(); skipped != "" {
			err = onEvent(train.Warning{Kind: train.Skipped, Text: skipped})
		}
	}
	return result, j.explain(err)
}

// Verify implements Task.
func (j *job[B]) Verify(ctx context.Context, onEvent func(finetune.Event) error) (from, to string, err error) {
	o, err := j.options(onEvent)
	if err != nil {
		return "", "", err
	}
	from, to, err = finetune.Verify(ctx, j.network, j.trainSet, j.testSet, o)
	return from, to, j.explain(err)
}

// FindRate implements Rehearsal.
func (j *job[B]) FindRate(
	ctx context.Context, phase int, rates finetune.RateRange, onEvent func(finetune.Event) error,
) (*finetune.RateCurve, error) {
	o, err := j.options(onEvent)
	if err != nil {
		return nil, err
	}
	curve, err := finetune.FindRate(ctx, j.network, j.trainSet, o, phase, rates)
	return curve, j.explain(j.spec.located(err))
}

// EstimateCost implements Rehearsal.
func (j *job[B]) EstimateCost(ctx context.Context) (*finetune.Forecast, error) {
	o, err := j.options(nil)
	if err != nil {
		return nil, err
	}
	f, err := finetune.EstimateCost(ctx, j.network, j.trainSet, j.testSet, o)
	return f, j.explain(j.spec.located(err))
}

func (j *job[B]) options(onEvent func(finetune.Event) error) (o finetune.Options, err error) {
	o = withAdapters(j.spec.Options(), j.adapters)
	o.OnEvent, o.Folder = onEvent, finetune.NewFolder(j.spec.Out)
	o.Objective, err = j.objective()
	return o, err
}

func (j *job[B]) explain(err error) error {
	if j.explained == nil {
		return err
	}
	return j.explained(err)
}

// skippedOf tells of the samples of data sets that turned out damaged, called one or many; "" when there were none.
func skippedOf(one, many string, sets ...interface{ Skipped() map[int]error }) string {
	count, first := 0, error(nil)
	for _, set := range sets {
		lowest := -1
		for i, err := range set.Skipped() {
			count++
			if first == nil || lowest >= 0 && i < lowest {
				lowest, first = i, err
			}
		}
	}
	if count == 0 {
		return ""
	}
	return fmt.Sprintf("%s left out, unreadable; the first: %v", quantity.Count(count, one, many), first)
}
