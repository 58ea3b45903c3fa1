package finetune

// Reporter is told how a run goes. Its methods are called from the goroutine of Run, one at a time.
type Reporter interface {
	// Planned is called before a phase, counted from 0, starts.
	Planned(phase int, plan *Plan)
	// Begin starts a task over so many samples: "prefix", "before", "epoch 1".
	Begin(task string, samples int)
	// Advance tells the samples done so far and, in training, the mean loss of the epoch so far (else 0).
	Advance(samples int, loss float64)
	// End ends the task; metrics is what an evaluation at its end gave, or nil.
	End(metrics *Metrics)
	// Note tells a thing worth a line: what was checked, what was unusual.
	Note(subject, text string)
}

// silent is the Reporter of a run that nobody watches.
type silent struct{}

func (silent) Planned(int, *Plan)   {}
func (silent) Begin(string, int)    {}
func (silent) Advance(int, float64) {}
func (silent) End(*Metrics)         {}
func (silent) Note(string, string)  {}
