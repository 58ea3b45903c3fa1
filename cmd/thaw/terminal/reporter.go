package terminal

import (
	"fmt"

	"github.com/thaw-ml/thaw/finetune"
)

// Reporter is the view as today's finetune.Run wants to be watched. It goes once runs send events, see event.go.txt.
func (v *View) Reporter() finetune.Reporter { return reporter{v} }

type reporter struct{ v *View }

func (r reporter) Planned(phase int, plan *finetune.Plan) { r.v.printPlan(phase+1, plan) }
func (r reporter) Begin(task string, samples int)         { r.v.begin(task, samples) }
func (r reporter) Advance(samples int, loss float64)      { r.v.advance(samples, loss) }
func (r reporter) Note(subject, text string)              { r.v.Note(subject, text) }

func (r reporter) End(m *finetune.Metrics) {
	if m == nil {
		r.v.end("")
		return
	}
	r.v.end(scoreOf(*m))
}

// scoreOf is a score for people.
func scoreOf(m finetune.Metrics) string {
	return fmt.Sprintf("accuracy %.4f  f1 %.4f", m.Accuracy, m.MacroF1)
}
