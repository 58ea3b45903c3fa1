package finetune

import (
	"bytes"
	"encoding/base64"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/internal/atomicfile"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
)

// Checkpointing says when a run saves, in its folder, all that it needs to go on bit for bit: weights, the optimizer's
// state, random generators, the place in the epoch. With Steps or Every it does so, too, when its context ends or
// StopAfter is over. A run that came to its end removes its checkpoints.
type Checkpointing struct {
	Steps int           // between two checkpoints; 0: not by steps
	Every time.Duration // between two checkpoints; 0: not by time
	Keep  int           // how many are kept, the newest; the default is 2
}

func (c Checkpointing) on() bool { return c.Steps > 0 || c.Every > 0 }

// CheckpointSaved comes after a checkpoint was written.
type CheckpointSaved struct {
	Path string
	Step int // of all phases
}

func (e CheckpointSaved) String() string {
	return fmt.Sprintf("checkpoint at step %d: %s", e.Step, e.Path)
}

// Names of what a checkpoint holds. Tensors are called by their kind and name.
const (
	modelPrefix     = "model."
	optimizerPrefix = "optimizer."
	cpuGenerator    = "generator.cpu"
	gpuGenerator    = "generator.device"
	runKey          = "thaw.run"      // metadata: the place in the run
	identityKey     = "thaw.identity" // metadata: what the run is
)

// savedRun is the place of a run in a checkpoint.
type savedRun struct {
	Phase   int // counted from 0
	InEpoch bool
	At      train.Position
	Result  Result
	Elapsed float64           // seconds
	Digests map[string]uint64 // of the phase's tensors at its start; nil where the phase was not begun
	Step    int               // of all phases
}

// checkpoints writes the checkpoints of a run.
type checkpoints struct {
	folder  string
	options Checkpointing
	step    int // of all phases, when the last was begun
	at      time.Time
	copies  map[string]torch.Tensor // where tensors that go on changing are copied to, by name
	writing chan error              // of the one that is being written; nil where none is
	copying chan struct{}           // closed when its tensors are copied; nil where nobody need wait
	path    string                  // of that one
}

func newCheckpoints(f *Folder, o Checkpointing) *checkpoints {
	if f == nil || !o.on() {
		return nil
	}
	return &checkpoints{folder: f.Checkpoints(), options: o, at: time.Now(), copies: map[string]torch.Tensor{}}
}

// due reports whether a checkpoint is to be written after a step.
func (c *checkpoints) due(step int) bool {
	return c.options.Steps > 0 && step-c.step >= c.options.Steps || c.options.Every > 0 && time.Since(c.at) >= c.options.Every
}

// finished takes the result of the checkpoint that was being written; it waits for it where wait is set. done is false
// where none was, or it goes on.
func (c *checkpoints) finished(wait bool) (path string, done bool, err error) {
	if c == nil || c.writing == nil {
		return "", false, nil
	}
	if wait {
		err = <-c.writing
	} else {
		select {
		case err = <-c.writing:
		default:
			return "", false, nil
		}
	}
	c.writing, c.copying = nil, nil
	return c.path, true, err
}

// write begins to write a checkpoint. Tensors in changing are copied at once; those in late, which stay as they are
// until the optimizer's next step, beside what computes meanwhile, see copied; the others stay as they are until
// finished.
func (c *checkpoints) write(s savedRun, identity string, changing, late, fixed []torch.Named) error {
	meta, err := s.metadata(identity)
	if err != nil {
		return err
	}
	all := slices.Clone(fixed)
	if err := torch.Try(func() { all = append(all, c.copyAll(changing)...) }); err != nil {
		return err
	}
	c.step, c.at = s.Step, time.Now()
	c.path = filepath.Join(c.folder, fmt.Sprintf("step-%08d.safetensors", s.Step))
	c.writing, c.copying = make(chan error, 1), make(chan struct{})
	go func(path string, done chan<- error, copied chan<- struct{}) {
		runtime.LockOSThread() // for good: the thread ends with the goroutine, and what libtorch keeps for it
		var err error
		torch.SingleThreaded(func() {
			err = torch.Try(func() { all = append(all, c.copyAll(late)...) })
			close(copied)
			if err == nil {
				err = c.save(path, all, meta)
			}
		})
		done <- err
	}(c.path, c.writing, c.copying)
	return nil
}

// copyAll copies tensors to memory that the checkpoints keep.
func (c *checkpoints) copyAll(tensors []torch.Named) (copies []torch.Named) {
	torch.NoGrad(func() {
		for _, n := range tensors {
			to, ok := c.copies[n.Name]
			if !ok {
				to = torch.NewParam(func() torch.Tensor { return torch.Empty(n.Tensor.DType(), torch.CPU, n.Tensor.Shape()...) })
				c.copies[n.Name] = to
			}
			to.Copy_(n.Tensor)
			copies = append(copies, torch.Named{Name: n.Name, Tensor: to})
		}
	})
	return copies
}

// copied waits until weights and optimizer may change.
func (c *checkpoints) copied() {
	if c != nil && c.copying != nil {
		<-c.copying
		c.copying = nil
	}
}

// save writes the file and removes older ones.
func (c *checkpoints) save(path string, tensors []torch.Named, meta map[string]string) error {
	if err := os.MkdirAll(c.folder, 0o755); err != nil {
		return err
	}
	if err := torch.SaveCheckpoint(path, tensors, meta); err != nil {
		return err
	}
	latest := filepath.Join(c.folder, latestFile)
	if err := atomicfile.Write(latest, func(w io.Writer) error {
		_, err := io.WriteString(w, filepath.Base(path)+"\n")
		return err
	}); err != nil {
		return err
	}
	files, err := listCheckpoints(c.folder)
	for _, old := range files[:max(0, len(files)-c.options.Keep)] {
		if old != path {
			err = errors.Join(err, os.Remove(old))
		}
	}
	return err
}

// close frees the copies.
func (c *checkpoints) close() {
	if c == nil {
		return
	}
	c.finished(true)
	for _, t := range c.copies {
		t.Close()
	}
}

func (s savedRun) metadata(identity string) (map[string]string, error) {
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(s); err != nil {
		return nil, err
	}
	return map[string]string{"format": "pt", runKey: base64.StdEncoding.EncodeToString(b.Bytes()), identityKey: identity}, nil
}

// latestFile names the newest checkpoint.
const latestFile = "latest"

// listCheckpoints gives the files of checkpoints, the newest last.
func listCheckpoints(folder string) (files []string, err error) {
	entries, err := os.ReadDir(folder) // in the order of their names, whose numbers are of one length
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		if ok, _ := filepath.Match("step-*.safetensors", e.Name()); ok {
			files = append(files, filepath.Join(folder, e.Name()))
		}
	}
	return files, err
}

// checkpoint saves the run's state; p is nil between phases. Where wait is not set it goes on while the file is
// written.
func (r *run[B]) checkpoint(p *phase[B], wait bool) error {
	if err := r.collect(true); err != nil { // one that is being written
		return err
	}
	saved := savedRun{Phase: r.number, Result: r.result, Elapsed: r.elapsed + time.Since(r.began).Seconds(), Step: r.steps}
	var changing, late, fixed []torch.Named
	err := torch.ScopedErr(func() (err error) {
		generators, err := r.generators()
		if err != nil {
			return err
		}
		if p != nil {
			if saved.At, err = p.trainer.Position(); err != nil {
				return err
			}
			if !r.inEpoch { // the next one begins from nothing
				saved.At = train.Position{Steps: saved.At.Steps}
			}
			saved.InEpoch, saved.Digests, saved.Step = r.inEpoch, p.check.digests, r.steps+saved.At.Steps
			for _, n := range p.trainer.State() {
				named := torch.Named{Name: optimizerPrefix + n.Name, Tensor: n.Tensor}
				if p.trainer.Gathered(n.Name) {
					fixed = append(fixed, named)
				} else {
					late = append(late, named)
				}
			}
		}
		for _, n := range nn.StageState(r.forward.Stages) {
			named := torch.Named{Name: modelPrefix + n.Name, Tensor: n.Tensor}
			switch {
			case p == nil || !p.changes[n.Name] && n.Tensor.Device().Type == torch.CPUType:
				fixed = append(fixed, named)
			case n.Tensor.RequiresGrad():
				late = append(late, named)
			default: // running statistics, which the next forward pass changes
				changing = append(changing, named)
			}
		}
		for name, g := range generators {
			changing = append(changing, torch.Named{Name: name, Tensor: g.State()})
		}
		if r.backend.Asynchronous() { // copies of what is on a device are in the order of its queue
			changing, late = append(changing, late...), nil
		}
		return r.checkpoints.write(saved, r.identity, changing, late, fixed)
	})
	if err != nil {
		return r.checkpointFailed(err)
	}
	if wait || p == nil { // between phases nothing says what will change
		return r.collect(true)
	}
	return nil
}

// gathered saves the run's state on rank 0, which has all of the optimizer's now.
func (r *run[B]) gathered(p *phase[B]) error {
	r.wantsState = false
	if r.checkpoints == nil {
		return nil
	}
	return r.checkpoint(p, false)
}

// collect tells of a checkpoint that was written. One that failed leaves those before, and the run goes on.
func (r *run[B]) collect(wait bool) error {
	path, done, err := r.checkpoints.finished(wait)
	if !done {
		return nil
	}
	if err != nil {
		return r.checkpointFailed(err)
	}
	return r.emit(CheckpointSaved{path, r.checkpoints.step})
}

func (r *run[B]) checkpointFailed(err error) error {
	return r.warn(train.CheckpointFailed, "no checkpoint was written, the one before is kept: %v", err)
}

// generators are what random numbers of the run come from.
func (r *run[B]) generators() (map[string]*torch.Generator, error) {
	out := map[string]*torch.Generator{cpuGenerator: torch.DefaultGenerator()}
	if r.backend.Device().Type == torch.CPUType {
		return out, nil
	}
	g, err := r.backend.Generator()
	out[gpuGenerator] = g
	return out, err
}

// beforeUpdate is called in each step once gradients are there.
func (r *run[B]) beforeUpdate() {
	r.checkpoints.copied()
	if r.probe != nil {
		r.probe.updates.start()
	}
}

// afterStep is called between two steps of a phase.
func (r *run[B]) afterStep(p *phase[B]) error {
	if r.probe != nil {
		r.probe.updates.stop()
	}
	if c := r.checkpoints; c != nil {
		if err := r.collect(false); err != nil {
			return err
		}
		if c.writing == nil && c.due(r.steps+p.trainer.Steps()) {
			if r.sharded { // which all processes gather together, see gathered
				r.wantsState = true
			} else if err := r.checkpoint(p, false); err != nil {
				return err
			}
		}
	}
	if r.verify && r.steps+p.trainer.Steps() == r.wanted.Step {
		return r.compare(p)
	}
	if limit := r.options.StopAfter; limit > 0 && r.options.Group.Rank() == 0 && time.Since(r.began) >= limit {
		return ErrTimeUp
	}
	return nil
}

// ErrTimeUp is the error of a run whose StopAfter is over.
var ErrTimeUp = errors.New("the time that the run was given (StopAfter, stop_after) is over")

// identify says what makes a run the same run, by names that an error can give.
func identify(settings map[string]any) (string, error) {
	out, err := json.Marshal(settings)
	return string(out), err
}

// perProcess is what may be another on another number of processes.
var perProcess = []string{"processes", "threads", "CPU kernels"}

// differences names what two identities do not have in common.
func differences(saved, now string) (list []string) {
	var a, b map[string]json.RawMessage
	if json.Unmarshal([]byte(saved), &a) != nil || json.Unmarshal([]byte(now), &b) != nil {
		return []string{"it says of no run what it is"}
	}
	if string(a["processes"]) != string(b["processes"]) { // the same samples in the same order, but for rounding
		for _, name := range perProcess {
			delete(a, name)
			delete(b, name)
		}
	}
	names := map[string]bool{}
	for name := range a {
		names[name] = true
	}
	for name := range b {
		names[name] = true
	}
	for name := range names {
		if was, is := string(a[name]), string(b[name]); was != is {
			if len(was)+len(is) < 160 {
				list = append(list, fmt.Sprintf("%s was %s and is %s", name, was, is))
			} else {
				list = append(list, name)
			}
		}
	}
	slices.Sort(list)
	return list
}

// removeStale removes what a process that was killed left half-written in a folder.
func removeStale(folder string) {
	files, _ := os.ReadDir(folder)
	for _, f := range files {
		if strings.HasPrefix(f.Name(), atomicfile.TempPrefix) && strings.HasSuffix(f.Name(), atomicfile.TempSuffix) {
			os.Remove(filepath.Join(folder, f.Name()))
		}
	}
}
