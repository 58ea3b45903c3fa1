package finetune

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/data"
	"github.com/thaw-ml/thaw/torch/nn"
)

// errSame ends a run that came to the checkpoint that it was to come to.
var errSame = errors.New("the checkpoints are the same")

// Verify proves that a run goes on bit for bit: it trains from the oldest checkpoint in o.Folder to the newest, and
// compares weights, the optimizer's state and generators with it. It gives the two files. An error names what differs;
// where there are no two checkpoints, there is nothing to compare. Nothing is written.
func Verify[B data.Batch[B]](
	ctx context.Context, model Model[B], trainSet, testSet data.Dataset[B], o Options,
) (from, to string, err error) {
	runtime.LockOSThread() // as Fit
	defer runtime.UnlockOSThread()
	if o, err = o.resolved(); err != nil {
		return "", "", err
	}
	if isNil(testSet) {
		testSet = nil
	}
	backend, precision, err := newBackend(o)
	if err != nil {
		return "", "", err
	}
	r := newRun(backend, precision, model, trainSet, testSet, o)
	r.verify = true
	_, err = r.fit(ctx)
	if r.wanted == nil {
		return "", "", err
	}
	from, to = r.from, r.wanted.path
	switch {
	case err == nil:
		err = fmt.Errorf("the run ended before step %d, at which %s was written", r.wanted.Step, to)
	case errors.Is(err, errSame):
		err = nil
	}
	r.wanted.close()
	return from, to, err
}

// openToVerify opens the oldest checkpoint, to go on from, and the newest.
func (r *run[B]) openToVerify() (err error) {
	f := r.options.Folder
	r.options.Folder, r.options.StopAfter = nil, 0
	if r.identity, err = r.identify(); err != nil {
		return err
	}
	files, err := listCheckpoints(f.Checkpoints())
	if err != nil {
		return err
	}
	if len(files) < 2 {
		return fmt.Errorf("%s has %d checkpoints: two are compared", f.Checkpoints(), len(files))
	}
	r.from = files[0]
	if r.resuming, err = openCheckpoint(r.from, r.identity); err != nil {
		return err
	}
	if r.wanted, err = openCheckpoint(files[len(files)-1], r.identity); err != nil {
		r.resuming.close()
		return err
	}
	r.goOn()
	return nil
}

// compare compares the state after a step with the checkpoint that was written there.
func (r *run[B]) compare(p *phase[B]) error {
	w := r.wanted
	var differ []string
	err := torch.ScopedErr(func() error {
		generators, err := r.generators()
		if err != nil {
			return err
		}
		state := map[string]torch.Tensor{}
		for _, n := range nn.StageState(r.forward.Stages) {
			state[modelPrefix+n.Name] = n.Tensor
		}
		for _, n := range p.trainer.State() {
			state[optimizerPrefix+n.Name] = n.Tensor
		}
		for name, g := range generators {
			state[name] = g.State()
		}
		for _, name := range w.file.Names() {
			saved, err := w.file.Tensor(name)
			if err != nil {
				return err
			}
			if now, ok := state[name]; !ok || now.Digest() != saved.Digest() {
				differ = append(differ, name)
			}
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case differ != nil:
		return fmt.Errorf("%d of %d tensors of %s differ from those of the run that went on: %s", len(differ), len(w.file.Names()), w.path,
			strings.Join(differ[:min(5, len(differ))], ", "))
	}
	return errSame
}
