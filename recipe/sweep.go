package recipe

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/finetune/train/metric"
	"github.com/thaw-ml/thaw/internal/atomicfile"
	"github.com/thaw-ml/thaw/report"
)

// sweepFile is in a sweep's folder: what the sweep is, and what its runs came to.
const sweepFile = "sweep.json"

// Sweep is a grid of runs of one spec, in a folder each. Runs that freeze the same compute it once, see
// [finetune.Shared]; each comes to the same numbers, bit for bit, as thaw train with the same keys.
type Sweep struct {
	Spec     string      `json:"spec"`     // the file, absolute
	Settings []string    `json:"settings"` // "key=values", as they were given
	Keys     []string    `json:"keys"`     // those that vary
	Metric   string      `json:"metric"`   // what runs are compared by
	Lower    bool        `json:"lower_is_better"`
	Runs     []*SweepRun `json:"runs"`
	Groups   []Group     `json:"groups"` // by all keys but the seed

	folder    string
	precision string // that a finished run chose; "" before
}

// SweepRun is one run of a sweep.
type SweepRun struct {
	Name      string            `json:"name"`   // of its folder
	Values    map[string]string `json:"values"` // of the keys that vary
	State     string            `json:"state"`  // "waiting", "finished" or "failed"
	Error     string            `json:"error,omitempty"`
	Value     *float64          `json:"value"` // of the metric, at the best epoch; null where the run has not finished
	BestEpoch int               `json:"best_epoch,omitempty"`
	Seconds   float64           `json:"seconds,omitempty"`

	spec *Spec
}

// The states of a run of a sweep.
const (
	Waiting  = "waiting"
	Finished = "finished"
	Failed   = "failed"
)

// OpenSweep reads a spec once for each point of a grid. settings are "key=values": the values stand between commas, and
// 0..4 counts; a key with one value is set for all runs. folder is the sweep's; "" chooses runs/NAME-sweep-1, or the
// first that has not finished and is the same sweep. A folder that is there goes on: its runs are taken as they are,
// where they are of the same specs.
//
// What is wrong with a spec is an error as Read has it, of the first point where anything is; a setting that cannot be
// followed is a *GridError.
func OpenSweep(path string, settings []string, folder string) (*Sweep, error) {
	axes, err := parseGrid(settings, countPhases(path))
	if err != nil {
		return nil, err
	}
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	w := &Sweep{Spec: absolute, Settings: settings, folder: folder}
	for _, a := range axes {
		if len(a.values) > 1 {
			w.Keys = append(w.Keys, a.key)
		}
	}
	names := map[string]string{}
	for _, point := range points(axes) {
		run := &SweepRun{Name: folderName(axes, point), Values: map[string]string{}, State: Waiting}
		var overrides, given []string
		rate := ""
		for i, a := range axes {
			given = append(given, a.key+"="+point[i])
			if a.key == rateKey {
				rate = point[i]
			} else {
				overrides = append(overrides, given[i])
			}
			if len(a.values) > 1 {
				run.Values[a.key] = point[i]
			}
		}
		told := strings.Join(given, " ")
		if other, taken := names[run.Name]; taken {
			return nil, wrongGrid("%s and %s would have folders of the same name, %s", other, told, run.Name)
		}
		names[run.Name] = told
		spec, err := readWithRate(path, overrides, rate)
		if err != nil {
			return nil, err
		}
		run.spec = &spec
		w.Runs = append(w.Runs, run)
	}
	if w.folder == "" {
		w.folder = w.nextFolder(path)
	}
	if w.folder, err = filepath.Abs(w.folder); err != nil {
		return nil, err
	}
	return w, w.look()
}

// nextFolder is the first folder of the sweep's name that is not there, or that this sweep was begun in and not
// finished.
func (w *Sweep) nextFolder(path string) string {
	name := strings.TrimSuffix(filepath.Base(path), filepath.Ext(path)) + "-sweep"
	for n := 1; ; n++ {
		folder := filepath.Join("runs", fmt.Sprintf("%s-%d", name, n))
		before, err := readSweep(folder)
		if _, absent := os.Lstat(folder); absent != nil {
			return folder
		}
		if err == nil && before.Spec == w.Spec && slices.Equal(before.Settings, w.Settings) && !before.finished() {
			return folder
		}
	}
}

func readSweep(folder string) (*Sweep, error) {
	text, err := os.ReadFile(filepath.Join(folder, sweepFile))
	if err != nil {
		return nil, err
	}
	var w Sweep
	if err := json.Unmarshal(text, &w); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(folder, sweepFile), err)
	}
	return &w, nil
}

func (w *Sweep) finished() bool {
	for _, run := range w.Runs {
		if run.State != Finished {
			return false
		}
	}
	return true
}

// look finds which runs were begun and which have finished. One of another spec is an error that names what differs.
func (w *Sweep) look() error {
	if _, err := os.Lstat(w.folder); err == nil {
		if _, err := readSweep(w.folder); errors.Is(err, fs.ErrNotExist) {
			return wrongGrid("%s exists and is no sweep's folder: nothing is overwritten", w.folder)
		} else if err != nil {
			return err
		}
	}
	for _, run := range w.Runs {
		run.spec.Out = filepath.Join(w.folder, run.Name)
		resolved, err := run.spec.Resolved()
		if err != nil {
			return err
		}
		*run.spec = resolved
		started, finished := run.spec.Started()
		if finished {
			if err := w.sameAsBefore(run); err != nil {
				return err
			}
			if err := w.read(run); err != nil {
				return err
			}
		}
		if !started && !finished {
			run.spec.goesOn = false
		}
	}
	return nil
}

// sameAsBefore compares a finished run's spec with what it would be now. What the data and the device tell is in its
// spec alone: where the spec leaves that open nothing differs.
func (w *Sweep) sameAsBefore(run *SweepRun) error {
	before, err := Read(filepath.Join(run.spec.Out, finetune.SpecFile))
	if err != nil {
		return fmt.Errorf("going on with %s: %w", w.folder, err)
	}
	now := run.spec.clone()
	if err := now.CheckPaths(); err != nil {
		return err
	}
	if now.Device == "auto" {
		now.Device = before.Device
	}
	if now.Precision == "auto" {
		now.Precision = before.Precision
	}
	if len(now.Head.Classes) == 0 {
		now.Head.Classes = before.Head.Classes
	}
	if now.Images != nil && before.Images != nil {
		if now.Images.Size == 0 {
			now.Images.Size = before.Images.Size
		}
		if now.Images.Resize == 0 {
			now.Images.Resize = before.Images.Resize
		}
	}
	if now.Data.MaxLength == defaultMaxLength {
		now.Data.MaxLength = before.Data.MaxLength // of a model with fewer positions
	}
	if err := now.SameRun(); err != nil {
		return wrongGrid("%v", err)
	}
	return nil
}

// Folder is where the runs are.
func (w *Sweep) Folder() string { return w.folder }

// Waiting counts the runs that have not finished.
func (w *Sweep) Waiting() (n int) {
	for _, run := range w.Runs {
		if run.State != Finished {
			n++
		}
	}
	return n
}

// Check looks for the files that the runs name, and for the device, before any of them is begun.
func (w *Sweep) Check() error {
	for _, run := range w.Runs {
		if run.State != Finished {
			if err := run.spec.Check(); err != nil {
				return err
			}
		}
	}
	return nil
}

// SweepEvents are told of a sweep's runs; a nil field is not called.
type SweepEvents struct {
	Started func(number int, run *SweepRun, goesOn bool) // counted from 1
	Event   func(finetune.Event) error                   // of the run, see finetune.Options
	Ended   func(number int, run *SweepRun)
}

// Run trains the runs that have not finished, one after the other, and keeps the sweep's file up to date. A run that
// fails does not end the sweep: its error is in State and Error. An error of Run is one of the sweep itself: ctx's end,
// the end of stop_after, data that is refused.
func (w *Sweep) Run(ctx context.Context, events SweepEvents) error {
	if err := os.MkdirAll(w.folder, 0o755); err != nil {
		return err
	}
	if err := w.write(); err != nil {
		return err
	}
	var shared finetune.Shared
	defer shared.Close()
	for i, run := range w.Runs {
		if run.State == Finished {
			continue
		}
		run.spec.shared = &shared
		if events.Started != nil {
			events.Started(i+1, run, run.spec.goesOn)
		}
		err := w.train(ctx, run, events.Event)
		if err == nil {
			err = w.read(run)
		}
		if opening, ok := errors.AsType[*openingError](err); ok {
			return opening.err // no run after this one would do better
		}
		if ctx.Err() != nil || errors.Is(err, finetune.ErrTimeUp) {
			return errors.Join(err, w.write())
		}
		if err != nil {
			run.State, run.Error = Failed, err.Error()
		}
		if events.Ended != nil {
			events.Ended(i+1, run)
		}
		if err := w.write(); err != nil {
			return err
		}
	}
	return nil
}

// openingError is one of data, model or spec, which all runs have in common.
type openingError struct{ err error }

func (e *openingError) Error() string { return e.err.Error() }

// Unwrap gives the error.
func (e *openingError) Unwrap() error { return e.err }

func (w *Sweep) train(ctx context.Context, run *SweepRun, onEvent func(finetune.Event) error) error {
	goesOn := run.spec.goesOn
	// What one run has found out about the CPU holds for the others, so that they differ in their settings alone.
	if run.spec.Precision == "auto" && !goesOn && !slices.Contains(w.Keys, "model") {
		run.spec.Precision = cmp.Or(w.precision, "auto")
	}
	task, err := Open(ctx, run.spec)
	if err != nil {
		return &openingError{err}
	}
	defer task.Close()
	if goesOn {
		if err := run.spec.SameRun(); err != nil {
			return &openingError{err}
		}
		_, err = task.Resume(ctx, onEvent)
		return err
	}
	_, err = task.Train(ctx, onEvent)
	return err
}

// read takes what a finished run came to from its folder.
func (w *Sweep) read(run *SweepRun) error {
	r, err := report.Read(run.spec.Out)
	if err != nil {
		return err
	}
	if r.Result == nil || len(r.Epochs) == 0 {
		return fmt.Errorf("%s did not come to its end", run.spec.Out)
	}
	if run.spec.Precision == "auto" {
		w.precision = r.Result.Precision
	}
	name := run.spec.chosenBy()
	if name == "" && len(r.Metrics) > 0 {
		name = r.Metrics[0]
	}
	best := r.Epochs[min(max(r.Result.BestEpoch, 1), len(r.Epochs))-1]
	value := best.TrainLoss
	switch at := indexOf(r.Metrics, name); {
	case at >= 0:
		value = best.Values[at]
	case name == "loss" && r.Result.Best.Rows > 0:
		value = best.TestLoss
	default:
		name = "train_loss" // there is no test data
	}
	run.State, run.Error, run.BestEpoch, run.Seconds = Finished, "", r.Result.BestEpoch, r.Result.Seconds.Total
	if run.Value = nil; !math.IsNaN(value) && !math.IsInf(value, 0) {
		run.Value = &value
	}
	w.Metric, w.Lower = name, name == "train_loss" || metric.LowerIsBetter(name)
	return nil
}

// write keeps what the sweep came to so far.
func (w *Sweep) write() error {
	w.Groups = w.grouped()
	return atomicfile.WriteJSON(filepath.Join(w.folder, sweepFile), w)
}

// Took is how long the runs took in all.
func (w *Sweep) Took() time.Duration {
	seconds := 0.0
	for _, run := range w.Runs {
		seconds += run.Seconds
	}
	return time.Duration(seconds * float64(time.Second))
}
