package finetune

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/data"
	"github.com/thaw-ml/thaw/torch/dist"
	"github.com/thaw-ml/thaw/torch/nn"
)

// ErrFinished is the error of a Fit that is to go on with a run that came to its end.
var ErrFinished = errors.New("the run came to its end already")

// ResumeError is a checkpoint that a run cannot go on from.
type ResumeError struct {
	Path string
	Err  error
}

func (e *ResumeError) Error() string { return fmt.Sprintf("%s: %v", e.Path, e.Err) }

// Unwrap gives Err.
func (e *ResumeError) Unwrap() error { return e.Err }

// resuming is the checkpoint that a run goes on from.
type resuming struct {
	savedRun
	path string
	file *torch.Checkpoint // nil once closed
}

// NewestCheckpoint is the path of the checkpoint that a run in the folder goes on from; "" where there is none.
func (f *Folder) NewestCheckpoint() (string, error) {
	files, err := listCheckpoints(f.Checkpoints())
	if err != nil || len(files) == 0 {
		return "", err
	}
	// What latest names is whole for certain; one behind it, too, unless somebody else wrote it.
	if name, err := os.ReadFile(filepath.Join(f.Checkpoints(), latestFile)); err == nil {
		if named := filepath.Join(f.Checkpoints(), strings.TrimSpace(string(name))); slices.Contains(files, named) {
			return named, nil
		}
	}
	return files[len(files)-1], nil
}

// openCheckpoint opens the newest checkpoint of a run; nil where there is none.
func (f *Folder) openCheckpoint(identity string) (*resuming, error) {
	path, err := f.NewestCheckpoint()
	if err != nil || path == "" {
		return nil, err
	}
	return openCheckpoint(path, identity)
}

// openCheckpoint opens a checkpoint of the run that identity says.
func openCheckpoint(path, identity string) (*resuming, error) {
	file, err := torch.OpenCheckpoint(path)
	if err != nil {
		return nil, &ResumeError{path, err}
	}
	r := &resuming{path: path, file: file}
	raw, err := base64.StdEncoding.DecodeString(file.Metadata()[runKey])
	if err == nil {
		err = gob.NewDecoder(strings.NewReader(string(raw))).Decode(&r.savedRun)
	}
	if err == nil {
		if differ := differences(file.Metadata()[identityKey], identity); differ != nil {
			err = fmt.Errorf("it is of another run: %s", strings.Join(differ, "; "))
		}
	} else {
		err = fmt.Errorf("it is no checkpoint of a run: %w", err)
	}
	if err != nil {
		file.Close()
		return nil, &ResumeError{path, err}
	}
	return r, nil
}

// close unmaps the file.
func (r *resuming) close() {
	if r != nil && r.file != nil {
		r.file.Close()
		r.file = nil
	}
}

// loadModel puts the checkpoint's weights into the model, on the CPU or on a device.
func (r *resuming) loadModel(state []torch.Named) error {
	return onOneThread(func() error {
		for _, n := range state {
			if err := r.file.CopyTo(modelPrefix+n.Name, n.Tensor); err != nil {
				return &ResumeError{r.path, err}
			}
		}
		return nil
	})
}

// onOneThread runs f, which copies hundreds of tensors: memory bounds that, and threads that wait for one another at
// each tensor make it several times as long where other programs compute too.
func onOneThread(f func() error) (err error) {
	torch.SingleThreaded(func() { err = f() })
	return err
}

// restore brings a phase to where it was: the optimizer, the place in the epoch, what tensors were at the phase's
// start, and last the generators.
func (r *run[B]) restore(p *phase[B], s *resuming) error {
	err := onOneThread(func() error { return torch.ScopedErr(func() error { return r.restoreFrom(p, s) }) })
	if err != nil {
		return &ResumeError{s.path, err}
	}
	r.inEpoch = s.InEpoch
	return nil
}

func (r *run[B]) restoreFrom(p *phase[B], s *resuming) error {
	optimizer, err := s.optimizer()
	if err = r.agreeOn("reading the checkpoint", err); err != nil {
		return err
	}
	if optimizer, err = r.shareState(optimizer, p.trainer.Keeps); err != nil {
		return err
	}
	if s.Digests != nil {
		p.check.digests = s.Digests
		if err := p.trainer.Resume(s.At, optimizer); err != nil {
			return err
		}
	}
	if r.options.Group != nil {
		return nil // each step seeds them
	}
	generators, err := r.generators()
	if err != nil {
		return err
	}
	for name, g := range generators {
		state, err := s.file.Tensor(name)
		if err != nil {
			return err
		}
		g.SetState(state)
	}
	return nil
}

// optimizer is the optimizer's state in the file; none where another process has it.
func (r *resuming) optimizer() (state []torch.Named, err error) {
	if r.file == nil {
		return nil, nil
	}
	for _, name := range r.file.Names() {
		key, ok := strings.CutPrefix(name, optimizerPrefix)
		if !ok {
			continue
		}
		t, err := r.file.Tensor(name)
		if err != nil {
			return nil, err
		}
		state = append(state, torch.Named{Name: key, Tensor: t})
	}
	return state, nil
}

// identity says what makes the run the same run: all that its numbers depend on.
func (r *run[B]) identify() (string, error) {
	o := r.options
	shapes := sha256.New()
	for _, n := range nn.StageState(r.forward.Stages) {
		fmt.Fprintln(shapes, n.Name, n.Tensor.Shape(), n.Tensor.DType())
	}
	threads := o.Threads
	if threads == 0 {
		threads = torch.NumThreads()
	}
	settings := map[string]any{
		"format": 1, "libtorch": torch.Version(), "device": r.deviceType(), "precision": r.forward.Precision.String(),
		"threads": threads, "CPU kernels": torch.CPUCapability(), "seed": o.Seed, "phases": o.Phases, "batch": o.Batch,
		"optimizer": o.Optimizer, "best": o.Best, "ema": o.EMA, "early_stopping": o.EarlyStopping, "clip_norm": o.ClipNorm, "cache": !o.NoCache, "graphs": !o.NoGraphs,
		"deterministic": o.Deterministic, "objective": describe(r.objective), "model": hex.EncodeToString(shapes.Sum(nil))[:16],
		"training data": fingerprint(r.train),
	}
	if o.Cache.Views > 0 && r.train.Augmented() {
		settings["cached views"] = o.Cache.Views
	}
	if o.Cache.dtype() != 0 {
		settings["cache precision"] = o.Cache.Precision
	}
	if n := o.Group.Size(); n > 1 {
		settings["processes"] = n
		if o.LocalNorms { // which no other number of processes computes
			settings["local batch norms"] = n
		}
	}
	if r.testLen() > 0 {
		settings["test data"] = fingerprint(r.test)
	}
	return identify(settings)
}

// deviceType names the kind of the run's device: another one of the kind computes the same.
func (r *run[B]) deviceType() string {
	if r.backend.Device().Type == torch.CUDAType {
		return "cuda"
	}
	return "cpu"
}

// describe tells objectives apart by their type and what its fields say.
func describe(o train.Objective) string {
	fields, err := json.Marshal(o)
	if err != nil { // with fields that JSON does not hold
		return fmt.Sprintf("%T", o)
	}
	return fmt.Sprintf("%T %s", o, fields)
}

// fingerprint tells data sets apart: by their own account, or else by the lengths of their samples.
func fingerprint[B data.Batch[B]](set data.Dataset[B]) string {
	if f, ok := set.(data.Fingerprinter); ok {
		return f.Fingerprint()
	}
	h := sha256.New()
	for i := range set.Len() {
		fmt.Fprintln(h, set.Length(i))
	}
	return fmt.Sprintf("%d samples, lengths %s", set.Len(), hex.EncodeToString(h.Sum(nil))[:16])
}

// interrupted reports whether a run was stopped from outside, so that it may go on later.
func interrupted(ctx context.Context, err error) bool {
	return errors.Is(err, ErrTimeUp) || errors.Is(err, dist.ErrStopped) || err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err())
}
