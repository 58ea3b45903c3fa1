package finetune

import (
	"github.com/thaw-ml/thaw/finetune/train"
)

// events collects what a run tells.
type events struct {
	all []Event
	on  func(Event) error // called with each, where not nil
}

func (e *events) add(event Event) error {
	e.all = append(e.all, event)
	if e.on != nil {
		return e.on(event)
	}
	return nil
}

// eventsOf are the events of one type.
func eventsOf[T Event](e *events) (out []T) {
	for _, event := range e.all {
		if t, ok := event.(T); ok {
			out = append(out, t)
		}
	}
	return out
}

// losses are the mean losses of the epochs so far, at every step.
func (e *events) losses() (out []float64) {
	for _, s := range eventsOf[train.StepDone](e) {
		out = append(out, s.Loss)
	}
	return out
}

// warnings are the texts of the warnings of a kind.
func (e *events) warnings(kind train.WarningKind) (out []string) {
	for _, w := range eventsOf[train.Warning](e) {
		if w.Kind == kind {
			out = append(out, w.Text)
		}
	}
	return out
}

// plans are those of the phases.
func (e *events) plans() (out []*Plan) {
	for _, p := range eventsOf[Planned](e) {
		out = append(out, p.Plan)
	}
	return out
}

// task is the one that was started last.
func (e *events) task() train.Task {
	started := eventsOf[train.TaskStarted](e)
	if len(started) == 0 {
		return train.Task{Kind: -1}
	}
	return started[len(started)-1].Task
}

// captured are the shapes of batches whose steps became graphs.
func (e *events) captured() (out []string) {
	for _, g := range eventsOf[train.GraphsCaptured](e) {
		out = append(out, g.Shapes...)
	}
	return out
}

// milestone is the beginning or the end of a task, without what differs from run to run.
type milestone struct {
	what    string // "started" or "done"
	task    train.Task
	samples int
	scored  bool
}

// milestones are the events that are no progress: a milestone of each task, and checks as they are.
func (e *events) milestones() (out []any) {
	for _, event := range e.all {
		switch x := event.(type) {
		case train.TaskStarted:
			out = append(out, milestone{"started", x.Task, x.Samples, false})
		case train.TaskDone:
			out = append(out, milestone{"done", x.Task, x.Samples, x.Score != nil})
		case train.GradientsChecked, FreezeChecked:
			out = append(out, x)
		}
	}
	return out
}

// The tasks of a run.
var (
	prefixTask   = train.Task{Kind: train.Prefix}
	baselineTask = train.Task{Kind: train.Baseline}
)

func epochTask(n int) train.Task { return train.Task{Kind: train.Training, Epoch: n} }
