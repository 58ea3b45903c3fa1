package recipe

import (
	"context"

	"github.com/thaw-ml/thaw/finetune"
)

// Rehearsal is a Task that also tells, without leaving a run, which settings suit it and what it costs. Tasks that Open
// gives are. Of all methods that train, one is called, once: it leaves the model with weights of no use.
type Rehearsal interface {
	Task
	// FindRate raises the learning rate of a phase, counted from 0, see finetune.FindRate.
	FindRate(ctx context.Context, phase int, rates finetune.RateRange, onEvent func(finetune.Event) error) (*finetune.RateCurve, error)
	// EstimateCost predicts what Train would cost, see finetune.EstimateCost.
	EstimateCost(ctx context.Context) (*finetune.Forecast, error)
}

var (
	_ Rehearsal = (*textTask)(nil)
	_ Rehearsal = (*imageTask)(nil)
	_ Rehearsal = (*detectionTask)(nil)
)
