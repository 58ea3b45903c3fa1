package report

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/finetune/train/metric"
	"github.com/thaw-ml/thaw/finetune/train/objective"
	"github.com/thaw-ml/thaw/report/tensorboard"
	"github.com/thaw-ml/thaw/torch/nn"
)

// mostRows is the number of rows of steps.csv that a phase has at most, but for the last step of each epoch.
const mostRows = 2000

// RecorderOptions say what a Recorder records.
type RecorderOptions struct {
	Folder string // of the run, which makes it
	// Problem is what the output means. Of a problem that is none of package objective's, "", single samples are not
	// looked at: there is no confusion matrix, no calibration and no mistakes.
	Problem objective.ProblemType
	Classes []string // names, by number
	Device  string   // that the run trains on; "" is the CPU
	// Train and Test tell the run's data from another run's.
	Train, Test DataSet
	// Sample gives a test sample, by its number in the data set, for the list of mistakes; nil leaves what they show out.
	Sample func(number int) (Sample, error)
	// Detection gives what the last evaluation of a detector came to; it is called after the one of each best epoch. nil
	// is for what is no detector.
	Detection func() (*Detection, error)
}

// DataSet tells a data set from others.
type DataSet struct {
	Rows int    `json:"rows"`
	Hash string `json:"hash,omitempty"` // the same for the same samples; "" is not known
}

// Recorder keeps what happens in a run in its folder, for a report and for TensorBoard. A failure to write ends the
// recording, not the run: it comes as a train.Warning. It draws no random numbers, and changes nothing in the run.
type Recorder struct {
	options  RecorderOptions
	next     func(finetune.Event) error
	disabled bool // after a failure
	begun    bool

	plan   *finetune.Plan
	phase  int // counted from 1
	before int // steps of earlier phases
	step   int // of the phase
	every  int // how many steps a row is of

	steps   *stepLog
	events  *tensorboard.Writer
	pending *train.StepDone // the newest step, where it has no row
	clock   clock
	score   *metric.Score // of the last evaluation
	seen    outputs       // of the last evaluation
}

// NewRecorder makes a recorder. Nothing is written before the run has made its folder.
func NewRecorder(o RecorderOptions) *Recorder {
	return &Recorder{options: o, seen: outputs{problem: o.Problem}}
}

// OnEvent gives what finetune.Options.OnEvent is to be: it records an event, and then calls next, which may be nil.
func (r *Recorder) OnEvent(next func(finetune.Event) error) func(finetune.Event) error {
	r.next = next
	return func(e finetune.Event) error {
		r.attempt(func() error { return r.record(e) })
		if next == nil {
			return nil
		}
		return next(e)
	}
}

// attempt does something that may fail without ending the run.
func (r *Recorder) attempt(f func() error) {
	if r.disabled {
		return
	}
	if err := f(); err != nil {
		r.disabled = true
		if r.next != nil {
			// What next answers to a warning is left aside: it will answer the run's own event, too.
			text := fmt.Sprintf("nothing more is recorded for the report: %v", err)
			_ = r.next(train.Warning{Kind: train.RecordingFailed, Text: text})
		}
	}
}

func (r *Recorder) record(e finetune.Event) error {
	switch e := e.(type) {
	case finetune.Planned:
		r.before += r.step
		r.plan, r.phase, r.step, r.pending = e.Plan, e.Phase, 0, nil
		r.every = max(1, (e.Plan.Steps+mostRows-1)/mostRows)
	case finetune.Resumed:
		r.before, r.step = e.Step-e.StepOfPhase, e.StepOfPhase
		return r.resume(e)
	case train.TaskStarted:
		r.clock = clock{}
		if e.Task.Kind == train.Training || e.Task.Kind == train.Baseline { // a run that goes on has told so by now
			return r.begin()
		}
	case train.StepDone:
		r.step = e.Step
		if e.Step%r.every != 0 && e.Step != 1 {
			r.pending = &e
			return nil
		}
		return r.row(e)
	case train.TaskDone:
		return r.done(e)
	case finetune.EpochDone:
		if e.Best && (r.seen.rows() > 0 || r.options.Detection != nil && r.score != nil && r.score.Rows > 0) {
			return r.writeEvaluation(e.Number)
		}
	}
	return nil
}

// begin starts the record of a new run, where that was not done.
func (r *Recorder) begin() error {
	if r.begun {
		return nil
	}
	return r.start(0, nil)
}

// resume goes on with the record of a run. The steps after the checkpoint are made again.
func (r *Recorder) resume(e finetune.Resumed) error {
	rows, err := readSteps(filepath.Join(r.options.Folder, finetune.StepsFile))
	if err != nil {
		return err
	}
	kept := rows[:0]
	for _, row := range rows {
		if row.Step <= e.Step {
			kept = append(kept, row)
		}
	}
	if err := r.start(e.Step, kept); err != nil {
		return err
	}
	// What earlier event files have of the step itself is outdated as well.
	if n := len(kept); n > 0 && kept[n-1].Step == e.Step {
		if err := r.events.Scalars(e.Step, kept[n-1].Time, r.scalarsOf(kept[n-1])...); err != nil {
			return err
		}
	}
	if n := len(e.Epochs); n > 0 && lastStep(kept, e.Epochs[n-1].Number) == e.Step {
		return r.writeScore(e.Step, e.Epochs[n-1].Test)
	}
	return nil
}

// lastStep is the last step of an epoch.
func lastStep(rows []Step, epoch int) (step int) {
	for _, row := range rows {
		if row.Epoch == epoch {
			step = row.Step
		}
	}
	return step
}

// start opens the files for what comes from a step on.
func (r *Recorder) start(from int, rows []Step) (err error) {
	r.begun = true
	if r.steps, err = openSteps(filepath.Join(r.options.Folder, finetune.StepsFile), rows); err != nil {
		return err
	}
	if r.events, err = tensorboard.Create(r.options.Folder, from, time.Now()); err != nil {
		return err
	}
	return writeMachine(r.options)
}

// row writes a row for the steps since the last one.
func (r *Recorder) row(e train.StepDone) error {
	r.pending = nil
	now := time.Now()
	row := Step{
		Step: r.before + e.Step, Phase: r.phase, Epoch: e.Epoch, Samples: e.Measured, EpochLoss: e.Loss, LR: e.LR,
		Time: now, Rate: r.clock.rate(e.Samples, now), Memory: memoryTaken(r.options.Device),
	}
	if !r.steps.measure(&row) { // on a GPU none of the steps is known to be done
		r.pending = &e
		return nil
	}
	if err := r.steps.write(row); err != nil {
		return err
	}
	return r.events.Scalars(row.Step, now, r.scalarsOf(row)...)
}

// scalarsOf are what TensorBoard shows of a step.
func (r *Recorder) scalarsOf(row Step) []tensorboard.Scalar {
	all := []tensorboard.Scalar{{Tag: "loss/train", Value: row.Loss}}
	factor := 0.0 // of the schedule
	seen := map[float64]bool{}
	for i := len(r.plan.Stages) - 1; i >= 0; i-- {
		s := r.plan.Stages[i]
		if !s.Trained || s.LR == 0 || seen[s.LR] {
			continue
		}
		if len(seen) == 0 {
			factor = row.LR / s.LR
		}
		seen[s.LR] = true
		all = append(all, tensorboard.Scalar{Tag: "learning_rate/" + s.Name, Value: s.LR * factor})
	}
	if row.Rate > 0 {
		all = append(all, tensorboard.Scalar{Tag: "speed/samples_per_second", Value: row.Rate})
	}
	if row.Memory > 0 {
		all = append(all, tensorboard.Scalar{Tag: "memory/gigabytes", Value: float64(row.Memory) / 1e9})
	}
	return all
}

// done ends a task.
func (r *Recorder) done(e train.TaskDone) error {
	if e.Task.Kind == train.Training && r.pending != nil {
		if err := r.row(*r.pending); err != nil {
			return err
		}
		r.pending = nil
	}
	r.score = e.Score
	if e.Score == nil || r.events == nil {
		return nil
	}
	return r.writeScore(r.before+r.step, *e.Score)
}

// writeScore has TensorBoard show an evaluation.
func (r *Recorder) writeScore(step int, s metric.Score) error {
	if s.Rows == 0 {
		return nil
	}
	all := []tensorboard.Scalar{{Tag: "loss/test", Value: s.Loss}}
	for _, v := range s.Values {
		all = append(all, tensorboard.Scalar{Tag: "metric/" + v.Name, Value: v.Value})
	}
	return r.events.Scalars(step, time.Now(), all...)
}

// Observe implements train.Observer.
func (r *Recorder) Observe(samples []int, output, target nn.Values) error {
	if !r.disabled {
		r.seen.add(samples, output, target)
	}
	return nil
}

// Observed implements train.Observer.
func (r *Recorder) Observed() error {
	r.attempt(r.seen.read)
	return nil
}

// Finish closes the recorder and makes the report of what was recorded, whether the run came to its end or not. Where
// nothing was, the folder may be another run's, and is left alone.
func (r *Recorder) Finish() error {
	r.Close()
	if !r.begun {
		return nil
	}
	_, err := Write(r.options.Folder)
	if errors.Is(err, fs.ErrNotExist) { // a failed run that left nothing
		return nil
	}
	return err
}

// Close closes the files, and frees what an evaluation left that did not come to its end. It may be called again.
func (r *Recorder) Close() {
	r.seen.drop()
	if r.steps != nil {
		r.steps.close()
		r.steps = nil
	}
	if r.events != nil {
		r.events.Close() // each event is in the file already
		r.events = nil
	}
}

// clock measures the samples that are trained in a second.
type clock struct {
	at      time.Time
	samples int
}

// rate is that since the last call; 0 where that is not known, as after a resume.
func (c *clock) rate(samples int, now time.Time) float64 {
	before := *c
	*c = clock{now, samples}
	if seconds := now.Sub(before.at).Seconds(); !before.at.IsZero() && seconds > 0 && samples > before.samples {
		return float64(samples-before.samples) / seconds
	}
	return 0
}
