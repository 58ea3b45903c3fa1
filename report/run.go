package report

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/finetune/train/metric"
)

// Run is what the files of a run folder say of a run. What the folder does not have is nil, or empty.
type Run struct {
	Name       string // the folder's
	Folder     string
	Status     Status
	Reason     string           // why the run failed
	Result     *finetune.Result // of a run that came to its end
	Epochs     []Epoch
	Metrics    []string // names, in order; without the loss
	Steps      []Step
	Evaluation *Evaluation
	Machine    *Machine
	Keys       []Key  // of the spec
	Spec       string // as it was resolved
	Plan       string
}

// Status says how a run stands.
type Status string

// The states of a run.
const (
	Finished    Status = "finished"
	Stopped     Status = "stopped early"    // in order, by the program's own rule
	Interrupted Status = "interrupted"      // with a checkpoint to go on from
	Failed      Status = "failed"           // with an error
	Unfinished  Status = "not finished yet" // it runs, or was killed
)

// Epoch is a row of metrics.csv.
type Epoch struct {
	Number, Phase int
	TrainLoss     float64
	TestLoss      float64   // NaN where nothing was evaluated
	Values        []float64 // of Run.Metrics
	Seconds       float64
	Step          int // of the whole run, at its end; 0 where that is not known
}

// NoRunError is a folder that is no run's. It is an fs.ErrNotExist.
type NoRunError struct{ Folder, Reason string }

func (e *NoRunError) Error() string {
	return fmt.Sprintf("%q is no run folder: %s", e.Folder, e.Reason)
}

// Unwrap gives fs.ErrNotExist.
func (*NoRunError) Unwrap() error { return fs.ErrNotExist }

// Read reads a run folder. One without a trace of a run is a *NoRunError.
func Read(folder string) (*Run, error) {
	absolute, err := filepath.Abs(folder)
	if err != nil {
		return nil, err
	}
	r := &Run{Folder: folder, Name: filepath.Base(absolute)}
	if info, err := os.Stat(folder); errors.Is(err, fs.ErrNotExist) {
		return nil, &NoRunError{folder, "it is not there"}
	} else if err != nil {
		return nil, err
	} else if !info.IsDir() {
		return nil, &NoRunError{folder, "it is no folder"}
	}
	if err := r.readEpochs(); err != nil {
		return nil, err
	}
	if r.Steps, err = readSteps(filepath.Join(folder, finetune.StepsFile)); err != nil {
		return nil, err
	}
	var result finetune.Result
	ended, err := readJSON(filepath.Join(folder, finetune.SummaryFile), &result)
	if err != nil {
		return nil, err
	}
	if ended {
		r.Result = &result
	}
	if len(r.Epochs)+len(r.Steps) == 0 && !ended {
		return nil, &NoRunError{folder, "nothing was trained there, or not yet"}
	}
	var e Evaluation
	if found, err := readJSON(filepath.Join(folder, finetune.EvaluationFile), &e); err != nil {
		return nil, err
	} else if found {
		r.Evaluation = &e
	}
	var m Machine
	if found, err := readJSON(filepath.Join(folder, finetune.MachineFile), &m); err != nil {
		return nil, err
	} else if found {
		r.Machine = &m
	}
	for name, into := range map[string]*string{
		finetune.SpecFile: &r.Spec, finetune.PlanFile: &r.Plan, finetune.ErrorFile: &r.Reason,
	} {
		if *into, err = readText(filepath.Join(folder, name)); err != nil {
			return nil, err
		}
	}
	if r.Keys, err = keysOf(r.Spec); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(folder, finetune.SpecFile), err)
	}
	r.findSteps()
	r.Status = r.status()
	return r, nil
}

// readText reads a file; "" where it is not there.
func readText(path string) (string, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return strings.TrimRight(string(text), "\n"), err
}

func (r *Run) status() Status {
	switch {
	case r.Result != nil && r.Result.Stopped:
		return Stopped
	case r.Result != nil:
		return Finished
	case r.Reason != "":
		return Failed
	}
	if files, err := os.ReadDir(finetune.NewFolder(r.Folder).Checkpoints()); err == nil && len(files) > 0 {
		return Interrupted
	}
	return Unfinished
}

// readEpochs reads metrics.csv.
func (r *Run) readEpochs() error {
	path := filepath.Join(r.Folder, finetune.MetricsFile)
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	t, err := readTable(file, path)
	if err != nil {
		return err
	}
	for _, name := range t.header {
		if !slices.Contains([]string{"epoch", "phase", "train_loss", "test_loss", "seconds"}, name) {
			r.Metrics = append(r.Metrics, name)
		}
	}
	for i := range t.rows {
		e := Epoch{
			Number: int(orZero(t.number(i, "epoch"))), Phase: int(orZero(t.number(i, "phase"))),
			TrainLoss: t.number(i, "train_loss"), TestLoss: t.number(i, "test_loss"), Seconds: orZero(t.number(i, "seconds")),
		}
		for _, name := range r.Metrics {
			e.Values = append(e.Values, t.number(i, name))
		}
		r.Epochs = append(r.Epochs, e)
	}
	return nil
}

// findSteps finds the last step of each epoch.
func (r *Run) findSteps() {
	last := map[int]int{}
	for _, s := range r.Steps {
		last[s.Epoch] = s.Step
	}
	for i := range r.Epochs {
		r.Epochs[i].Step = last[r.Epochs[i].Number]
	}
}

// best is the epoch of the best weights, and its score; of a run that is not over that of the evaluation that was kept.
// There is none where nothing was evaluated.
func (r *Run) best() (epoch int, score metric.Score) {
	switch {
	case r.Result != nil:
		return r.Result.BestEpoch, r.inOrder(r.Result.Best)
	case r.Evaluation != nil:
		return r.Evaluation.Epoch, r.inOrder(r.Evaluation.Score)
	}
	return 0, metric.Score{}
}

// inOrder puts a score's metrics, which come sorted by name from JSON, into the order of the run.
func (r *Run) inOrder(s metric.Score) metric.Score {
	position := func(name string) int {
		if i := slices.Index(r.Metrics, name); i >= 0 {
			return i
		}
		return len(r.Metrics)
	}
	s.Values = slices.Clone(s.Values)
	for i := range s.Values {
		s.Values[i].Lower = metric.LowerIsBetter(s.Values[i].Name)
	}
	slices.SortStableFunc(s.Values, func(a, b metric.Value) int { return position(a.Name) - position(b.Name) })
	return s
}

// evaluation is that of the best epoch; nil where evaluation.json is of another one.
func (r *Run) evaluation() *Evaluation {
	if r.Evaluation == nil || r.Result != nil && r.Result.BestEpoch != r.Evaluation.Epoch {
		return nil
	}
	return r.Evaluation
}

// perClass are the counts of each class of the best epoch; nil where there are no classes.
func (r *Run) perClass() *metric.Classes {
	_, score := r.best()
	return score.Classes
}

// chosenBy names the metric that chose the best epoch; "" where nothing was evaluated.
func (r *Run) chosenBy() string {
	if name := r.key("best"); name != "" {
		return name
	}
	if len(r.Metrics) > 0 {
		return r.Metrics[0]
	}
	return ""
}

// seconds are what the run took: in all, or of an unfinished one its epochs.
func (r *Run) seconds() float64 {
	if r.Result != nil {
		return r.Result.Seconds.Total
	}
	sum := 0.0
	for _, e := range r.Epochs {
		sum += e.Seconds
	}
	return sum
}

// memory is the most that the process held, in bytes, or took of the GPU; 0 where that is not known.
func (r *Run) memory() (bytes int64, ofGPU bool) {
	if r.Result != nil {
		if n := r.Result.PeakDeviceBytes; n > 0 {
			return n, true
		}
		return r.Result.PeakBytes, false
	}
	for _, s := range r.Steps {
		bytes = max(bytes, s.Memory)
	}
	return bytes, r.Machine != nil && r.Machine.GPU != ""
}

// throughput is the number of samples that were trained in a second; NaN where that is not known.
func (r *Run) throughput() float64 {
	if r.Result != nil {
		return r.Result.Throughput
	}
	var rates []float64
	for _, s := range r.Steps {
		if s.Rate > 0 {
			rates = append(rates, s.Rate)
		}
	}
	if rates == nil {
		return math.NaN()
	}
	slices.Sort(rates)
	return rates[len(rates)/2]
}

// before is the score of the model before anything was trained; nil where it was not measured.
func (r *Run) before() *metric.Score {
	if r.Result == nil || r.Result.Before.Rows == 0 {
		return nil
	}
	return &r.Result.Before
}
