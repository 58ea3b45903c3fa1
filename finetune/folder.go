package finetune

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"

	"github.com/thaw-ml/thaw/internal/atomicfile"
	"github.com/thaw-ml/thaw/torch"
)

// folder is a run folder:
//
//	spec.yaml                      the spec as it was resolved
//	plan.txt                       what was frozen and what was trained
//	metrics.csv                    a row for each epoch
//	summary.json                   the Result
//	weights/{best,last}.safetensors
//	weights/config.json            and the tokenizer's files
type folder struct {
	path       string
	parentMade bool // by this run, which removes it again if it leaves nothing there
}

// createFolder makes the run folder; one that exists is an error, so that no run overwrites another.
func createFolder(s *Spec) (*folder, error) {
	if s.Out == "" {
		return nil, s.Errorf("out", "no run folder is given")
	}
	parent := filepath.Dir(s.Out)
	_, err := os.Stat(parent)
	f := &folder{path: s.Out, parentMade: errors.Is(err, fs.ErrNotExist)}
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return nil, s.Errorf("out", "making the run folder: %w", err)
	}
	if err := os.Mkdir(s.Out, 0o755); errors.Is(err, fs.ErrExist) {
		return nil, s.Errorf("out", "%s exists already: give another folder, or remove it", s.Out)
	} else if err != nil {
		return nil, s.Errorf("out", "making the run folder: %w", err)
	}
	text, err := s.YAML()
	if err == nil {
		err = errors.Join(f.write("spec.yaml", text), os.Mkdir(f.weights(), 0o755))
	}
	if err != nil {
		f.abandon(err)
		return nil, err
	}
	return f, nil
}

// NextFolder is the first folder root/name-1, root/name-2, ... that does not exist, as far as one can see: making it
// tells the rest.
func NextFolder(root, name string) string {
	for n := 1; ; n++ {
		path := filepath.Join(root, name+"-"+strconv.Itoa(n))
		if _, err := os.Lstat(path); err != nil {
			return path
		}
	}
}

func (f *folder) weights() string { return filepath.Join(f.path, "weights") }

func (f *folder) write(name string, text []byte) error {
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
func (f *folder) abandon(reason error) {
	if _, err := os.Stat(filepath.Join(f.path, "metrics.csv")); err != nil {
		os.RemoveAll(f.path)
		if f.parentMade {
			os.Remove(filepath.Dir(f.path)) // fails where another run has come in, as it should
		}
		return
	}
	// The run's own error is the one to tell; this file is only a help.
	_ = f.write("error.txt", []byte(reason.Error()+"\n"))
}

func (f *folder) writePlan(phase int, plan *Plan) error {
	path := filepath.Join(f.path, "plan.txt")
	before, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return f.write("plan.txt", fmt.Appendf(before, "phase %d\n%s\n", phase+1, plan))
}

func (f *folder) saveWeights(name string, state []torch.Named) error {
	return torch.SaveCheckpoint(filepath.Join(f.weights(), name+".safetensors"), state, map[string]string{"format": "pt"})
}

func (f *folder) writeMetrics(epochs []Epoch) error {
	path := filepath.Join(f.path, "metrics.csv")
	return atomicfile.Write(path, func(w io.Writer) error {
		c := csv.NewWriter(w)
		c.Write([]string{"epoch", "phase", "train_loss", "test_loss", "accuracy", "macro_f1", "seconds"})
		exact := func(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }
		for _, e := range epochs {
			c.Write([]string{strconv.Itoa(e.Epoch), strconv.Itoa(e.Phase), exact(e.TrainLoss), exact(e.Test.Loss),
				exact(e.Test.Accuracy), exact(e.Test.MacroF1), strconv.FormatFloat(e.Seconds, 'f', 3, 64)})
		}
		c.Flush()
		return c.Error()
	})
}

func (f *folder) writeSummary(r *Result) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return f.write("summary.json", append(text, '\n'))
}

// Versions says what a run ran on.
type Versions struct {
	Thaw          string `json:"thaw"`
	Libtorch      string `json:"libtorch"`
	Go            string `json:"go"`
	CPUCapability string `json:"cpu_capability"`
	Threads       int    `json:"threads"`
}

// Version is Thaw's version.
const Version = "0.1.0"

func currentVersions() *Versions {
	v := &Versions{Version, torch.Version(), runtime.Version(), torch.CPUCapability(), torch.NumThreads()}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				v.Thaw += "+" + s.Value[:min(12, len(s.Value))]
			}
		}
	}
	return v
}
