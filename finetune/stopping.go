package finetune

import (
	"errors"
	"fmt"

	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/finetune/train/metric"
)

// stopping watches the evaluations of a phase for EarlyStopping.
type stopping struct {
	EarlyStopping
	begun bool
	best  metric.Value
	bad   int // epochs in a row that were no better
}

// measured takes an epoch's metric and reports whether the phase has had enough.
func (s *stopping) measured(v metric.Value) bool {
	if s.Patience == 0 {
		return false
	}
	than := s.best
	if s.best.Lower {
		than.Value -= s.MinDelta
	} else {
		than.Value += s.MinDelta
	}
	if !s.begun || v.Better(than) {
		s.begun, s.best, s.bad = true, v, 0
		return false
	}
	s.bad++
	return s.bad >= s.Patience
}

// StoppedEarly comes after the epoch with which EarlyStopping ended a phase.
type StoppedEarly struct {
	Phase, Epoch int // counted from 1
	Metric       string
	Best         float64
	Patience     int
}

func (e StoppedEarly) String() string {
	return fmt.Sprintf("phase %d ends after epoch %d: %s was no better than %.4g in %d epochs", e.Phase, e.Epoch, e.Metric, e.Best, e.Patience)
}

// RateLowered comes after the epoch with which the schedule "plateau" lowered a phase's learning rates.
type RateLowered struct {
	Epoch int     // counted from 1
	Scale float64 // on the rates, from now on
}

func (e RateLowered) String() string {
	return fmt.Sprintf("learning rates are %.4g of their highest from epoch %d on: the evaluation did not get better", e.Scale, e.Epoch+1)
}

// watch takes an epoch's evaluation. over says that the phase ends with it.
func (p *phase[B]) watch(score metric.Score) (lowered, over bool) {
	if score.IsZero() {
		return false, false
	}
	v, _ := score.Find(p.run.bestName(score))
	if p.plateau != nil {
		p.plateau.Higher = !v.Lower
		lowered = p.plateau.Measured(v.Value)
	}
	return lowered, p.stopping.measured(v)
}

// checkWatched makes sure that what looks at evaluations has some.
func checkWatched(o Options, tested bool) error {
	if tested {
		return nil
	}
	for i, p := range o.Phases {
		if p.Schedule == Plateau {
			return fmt.Errorf("finetune: Options.Phases[%d].Schedule %q looks at evaluations, and there are no test samples", i, Plateau)
		}
	}
	if o.EarlyStopping.Patience > 0 {
		return errors.New("finetune: Options.EarlyStopping looks at evaluations, and there are no test samples")
	}
	return nil
}

// tellSkipped warns of a phase many of whose steps float16's loss scale dropped.
func (r *run[B]) tellSkipped(p *phase[B]) error {
	skipped, steps := p.trainer.Skipped(), p.trainer.Steps()
	if skipped <= 10+steps/20 { // at the start some are as should be: the scale begins high
		return nil
	}
	return r.warn(train.StepsSkipped, "%s of %s steps were dropped, as gradients overflowed in float16: bfloat16 or float32 trains with all",
		count(skipped), count(steps))
}
