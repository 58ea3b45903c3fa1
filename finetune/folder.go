package finetune

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/thaw-ml/thaw/internal/atomicfile"
	"github.com/thaw-ml/thaw/torch"
)

// The names within a run folder.
const (
	SpecFile       = "spec.yaml" // the spec as it was resolved; a run that a Go program made has none
	PlanFile       = "plan.txt"  // what was frozen and what was trained
	MetricsFile    = "metrics.csv"
	SummaryFile    = "summary.json"
	WeightsDir     = "weights"     // best.safetensors, last.safetensors, and what the model writes beside them: config.json
	CheckpointsDir = "checkpoints" // of a run that is not over; latest names the newest
	ErrorFile      = "error.txt"   // why a run ended that cannot go on
)

// The names of what package report leaves there.
const (
	StepsFile      = "steps.csv"       // the losses and learning rates on the way
	EvaluationFile = "evaluation.json" // of the best epoch: what is confused, how sure predictions are, the worst mistakes
	MachineFile    = "machine.json"    // what the run ran on, and what data it read
	CurvesFile     = "curves.png"
	ConfusionFile  = "confusion.png"
	ReportFile     = "report.html"
)

// Folder is where a run leaves its weights, metrics and summary. A nil Folder keeps nothing.
type Folder struct {
	path       string
	files      map[string][]byte
	parentMade bool     // by this run, which removes it again if it leaves nothing there
	lock       *os.File // the folder, while this process trains there
}

// NewFolder says that a run is to make the folder path, which must not exist, so that no run overwrites another.
func NewFolder(path string) *Folder { return &Folder{path: path, files: map[string][]byte{}} }

// Add has a file written when the folder is made.
func (f *Folder) Add(name string, content []byte) { f.files[name] = content }

// Path is the folder; "" for a nil Folder.
func (f *Folder) Path() string {
	if f == nil {
		return ""
	}
	return f.path
}

// Weights is the folder with the weights and the model's config.json.
func (f *Folder) Weights() string { return filepath.Join(f.path, WeightsDir) }

// Checkpoints is the folder with the checkpoints of a run that is not over.
func (f *Folder) Checkpoints() string { return filepath.Join(f.path, CheckpointsDir) }

// FolderError is a run folder that cannot be made.
type FolderError struct{ Err error }

func (e *FolderError) Error() string { return e.Err.Error() }

// Unwrap gives Err.
func (e *FolderError) Unwrap() error { return e.Err }

// create makes the folder, with the model's own files.
func (f *Folder) create(model any) error {
	if f == nil {
		return nil
	}
	parent := filepath.Dir(f.path)
	_, err := os.Stat(parent)
	f.parentMade = errors.Is(err, fs.ErrNotExist)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return &FolderError{fmt.Errorf("making the run folder: %w", err)}
	}
	if err := os.Mkdir(f.path, 0o755); errors.Is(err, fs.ErrExist) {
		return &FolderError{fmt.Errorf("%s exists already: give another folder, or remove it", f.path)}
	} else if err != nil {
		return &FolderError{fmt.Errorf("making the run folder: %w", err)}
	}
	if err = f.take(); err == nil {
		if err = os.Mkdir(f.Weights(), 0o755); err == nil {
			err = f.fill(model)
		}
	}
	if err != nil {
		f.abandon(err)
		f.leave()
	}
	return err
}

// fill writes the files that every run folder has.
func (f *Folder) fill(model any) (err error) {
	for name, content := range f.files {
		err = errors.Join(err, f.write(name, content))
	}
	if saver, ok := model.(ConfigSaver); ok && err == nil {
		if err = saver.SaveConfig(f.Weights()); err != nil {
			err = fmt.Errorf("writing the model's config: %w", err)
		}
	}
	return err
}

// reopen takes a folder that a run left, to go on there.
func (f *Folder) reopen(model any) error {
	if info, err := os.Stat(f.path); err != nil || !info.IsDir() {
		return f.create(model)
	}
	if err := f.take(); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(f.path, SummaryFile)); err == nil {
		return &FolderError{fmt.Errorf("%s: %w", f.path, ErrFinished)}
	}
	removeStale(f.path)
	removeStale(f.Checkpoints())
	if err := os.MkdirAll(f.Weights(), 0o755); err != nil {
		return &FolderError{err}
	}
	removeStale(f.Weights())
	return nil
}

// Begun reports whether a run was begun in the folder: by its spec, or as there is no more than what a process leaves
// that ended while it made the folder, perhaps nothing at all.
func (f *Folder) Begun() bool {
	if _, err := os.Stat(filepath.Join(f.path, SpecFile)); err == nil {
		return true
	}
	files, err := os.ReadDir(f.path)
	if err != nil {
		return false
	}
	for _, file := range files {
		if name := file.Name(); !(name == WeightsDir && file.IsDir()) && !strings.HasPrefix(name, atomicfile.TempPrefix) {
			return false
		}
	}
	return true
}

// take makes sure that no other process trains in the folder. The system gives the lock back when the process ends,
// however it does. A file system without locks goes without.
func (f *Folder) take() error {
	if f.lock != nil {
		return nil
	}
	file, err := os.Open(f.path)
	if err != nil {
		return &FolderError{fmt.Errorf("locking the run folder: %w", err)}
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); errors.Is(err, syscall.EWOULDBLOCK) {
		file.Close()
		return &FolderError{fmt.Errorf("%s: another process trains there: wait for it, or give another folder", f.path)}
	}
	f.lock = file
	return nil
}

// leave gives the folder free.
func (f *Folder) leave() {
	if f != nil && f.lock != nil {
		f.lock.Close()
		f.lock = nil
	}
}

// over removes what only a run that is not over needs.
func (f *Folder) over() error {
	if f == nil {
		return nil
	}
	return errors.Join(os.RemoveAll(f.Checkpoints()), os.RemoveAll(filepath.Join(f.path, ErrorFile)))
}

func (f *Folder) write(name string, text []byte) error {
	path := filepath.Join(f.path, name)
	err := atomicfile.Write(path, func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	})
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}

// abandon leaves a failed run's folder with the reason in it, or removes it where nothing was trained yet.
func (f *Folder) abandon(reason error) {
	if f == nil {
		return
	}
	if files, err := listCheckpoints(f.Checkpoints()); err == nil && len(files) > 0 {
		return // it goes on from there
	}
	if _, err := os.Stat(filepath.Join(f.path, MetricsFile)); err != nil {
		os.RemoveAll(f.path)
		if f.parentMade {
			os.Remove(filepath.Dir(f.path)) // fails where another run has come in, as it should
		}
		return
	}
	// The run's own error is the one to report; this file is only a help.
	_ = f.write(ErrorFile, []byte(reason.Error()+"\n"))
}

func (f *Folder) writePlan(phase int, plan *Plan) error {
	if f == nil {
		return nil
	}
	before, err := os.ReadFile(filepath.Join(f.path, PlanFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if title := fmt.Sprintf("phase %d\n", phase+1); bytes.HasPrefix(before, []byte(title)) || bytes.Contains(before, []byte("\n"+title)) {
		return nil // the run was interrupted in this phase
	}
	return f.write(PlanFile, fmt.Appendf(before, "phase %d\n%s\n", phase+1, plan))
}

// saveWeights writes weights and gives their file; "" without a folder.
func (f *Folder) saveWeights(name string, state []torch.Named) (string, error) {
	if f == nil {
		return "", nil
	}
	path := filepath.Join(f.Weights(), name+".safetensors")
	return path, torch.SaveCheckpoint(path, state, map[string]string{"format": "pt"})
}

// writeMetrics writes a row for each epoch, with a column for each metric.
func (f *Folder) writeMetrics(epochs []Epoch) error {
	if f == nil {
		return nil
	}
	path := filepath.Join(f.path, MetricsFile)
	return atomicfile.Write(path, func(w io.Writer) error {
		c := csv.NewWriter(w)
		header := []string{"epoch", "phase", "train_loss", "test_loss"}
		for _, v := range epochs[0].Test.Values {
			header = append(header, v.Name)
		}
		c.Write(append(header, "seconds"))
		for _, e := range epochs {
			row := []string{strconv.Itoa(e.Number), strconv.Itoa(e.Phase), exact(e.TrainLoss), exact(e.Test.Loss)}
			if e.Test.Rows == 0 {
				row[3] = ""
			}
			for _, v := range e.Test.Values {
				row = append(row, exact(v.Value))
			}
			c.Write(append(row, strconv.FormatFloat(e.Seconds, 'f', 3, 64)))
		}
		c.Flush()
		return c.Error()
	})
}

// exact writes a number so that it reads back the same; nothing for NaN.
func exact(x float64) string {
	if math.IsNaN(x) {
		return ""
	}
	return strconv.FormatFloat(x, 'g', -1, 64)
}

func (f *Folder) writeSummary(r *Result) error {
	if f == nil {
		return nil
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return f.write(SummaryFile, append(text, '\n'))
}
