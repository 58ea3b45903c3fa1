package terminal

import (
	"fmt"
	"strings"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/internal/quantity"
)

// Event shows what happened; it is what finetune.Options.OnEvent calls.
func (v *View) Event(e finetune.Event) error {
	switch e := e.(type) {
	case finetune.Planned:
		v.printPlan(e.Phase, e.Plan)
	case train.TaskStarted:
		v.begin(e.Task.String(), e.Samples)
		if e.Task.Kind == train.Training {
			v.before.Store(v.resumed.Swap(0))
		}
	case train.Progress:
		v.advance(e.Samples, 0)
	case train.StepDone:
		v.advance(e.Samples, e.Loss)
	case train.TaskDone:
		v.advance(e.Samples, e.Loss)
		score := ""
		if e.Score != nil {
			score = e.Score.String()
		}
		v.end(score)
	case train.GradientsChecked:
		v.Note("check", "frozen hashes taken · "+e.String())
	case finetune.FreezeChecked:
		v.Note("check", "frozen tensors unchanged · every trained stage moved")
	case train.GraphsCaptured:
		v.Note("graphs", e.String())
	case train.Warning:
		v.Note("warning", e.Text)
	case finetune.Resumed:
		v.resumed.Store(int64(e.Samples))
		v.Note("resumed", fmt.Sprintf("from the checkpoint at step %s", quantity.Digits(e.Step)))
	case finetune.CheckpointSaved:
		v.Note("saved", fmt.Sprintf("checkpoint at step %d", e.Step))
	case finetune.StoppedEarly:
		v.Note("stopping", e.String())
	case finetune.RateLowered:
		v.Note("rate", e.String())
	case finetune.Saved, finetune.EpochDone: // shown otherwise
	default:
		subject, text, _ := strings.Cut(fmt.Sprint(e), ": ")
		v.Note(subject, text)
	}
	return nil
}
