package terminal

import (
	"fmt"
	"strings"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/finetune/train"
)

// Event shows what happened; it is what finetune.Options.OnEvent calls.
func (v *View) Event(e finetune.Event) error {
	switch e := e.(type) {
	case finetune.Planned:
		v.printPlan(e.Phase, e.Plan)
	case train.TaskStarted:
		v.begin(e.Task.String(), e.Samples)
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
	case finetune.CheckpointSaved:
		v.Note("saved", fmt.Sprintf("checkpoint at step %d", e.Step))
	case finetune.Saved, finetune.EpochDone: // shown otherwise
	default:
		subject, text, _ := strings.Cut(fmt.Sprint(e), ": ")
		v.Note(subject, text)
	}
	return nil
}
