package finetune

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/dist"
	"github.com/thaw-ml/thaw/torch/nn"
)

// join makes this process's run one of those of all processes: what they are is compared, rank 0 keeps the folder.
func (r *run[B]) join() error {
	g := r.options.Group
	if g == nil {
		return nil
	}
	if own := r.backend.Device(); own != g.Device() {
		return fmt.Errorf("finetune: Options.Group was joined with device %v and this process trains on %v: give dist.Options.Device what "+
			"Options.Device says", g.Device(), own)
	}
	identity, err := r.identify()
	if err = g.Agree("reading model and data", err); err != nil {
		return err
	}
	all, err := g.Exchange("comparing model, data and options", []byte(identity))
	if err != nil {
		return err
	}
	for rank, other := range all {
		// Nodes may have other processors.
		differ := slices.DeleteFunc(differences(string(other), string(all[0])), func(what string) bool {
			return slices.ContainsFunc(perProcess, func(name string) bool { return strings.HasPrefix(what, name+" was ") })
		})
		if len(differ) > 0 {
			return fmt.Errorf("rank %d would train another run than rank 0: %s", rank, strings.Join(differ, "; "))
		}
	}
	if g.Rank() != 0 {
		r.options.Folder = nil
	}
	return nil
}

// shareResuming gives all processes what rank 0 goes on from; nil where it begins anew.
func (r *run[B]) shareResuming() error {
	g := r.options.Group
	if g == nil {
		return nil
	}
	var message []byte
	if s := r.resuming; s != nil {
		var err error
		if message, err = dist.Encode(resumePoint{s.path, s.savedRun}); err != nil {
			return err
		}
	}
	message, err := g.Send("sending the place to go on from", 0, message)
	if err != nil || len(message) == 0 || g.Rank() == 0 {
		return err
	}
	var s resumePoint
	if err := dist.Decode(message, &s); err != nil {
		return err
	}
	r.resuming = &resuming{path: s.Path, savedRun: s.Run}
	r.goOn()
	return nil
}

// resumePoint is what processes are told of a checkpoint.
type resumePoint struct {
	Path string
	Run  savedRun
}

// shareModel gives all processes rank 0's weights.
func (r *run[B]) shareModel() error {
	if r.options.Group == nil {
		return nil
	}
	var tensors []torch.Tensor
	for _, n := range nn.StageState(r.forward.Stages) {
		tensors = append(tensors, n.Tensor.Detach())
	}
	return r.options.Group.Broadcast("sending the weights", 0, tensors...)
}

// shareState gives all processes named tensors that rank 0 has, as far as they keep them.
func (r *run[B]) shareState(state []torch.Named, keeps func(name string) bool) ([]torch.Named, error) {
	if r.options.Group == nil {
		return state, nil
	}
	return r.options.Group.SendNamed("sending the optimizer's state", 0, state, keeps)
}

// agreeOnSparing divides the optimizer's state, and computes activations again, on all processes where one of them needs that.
func (r *run[B]) agreeOnSparing() (err error) {
	g := r.options.Group
	if r.sharded, err = g.Any("agreeing on the optimizer's state", r.sharded); err != nil {
		return err
	}
	if r.recompute, err = g.Any("agreeing on gradient checkpointing", r.recompute); err != nil || !r.recompute || r.options.GradientCheckpointing == "on" {
		return err
	}
	return r.emit(ActivationsRecomputed{})
}

// checkEqual makes sure that all processes have the same weights.
func (r *run[B]) checkEqual(after string) error {
	g := r.options.Group
	if g == nil {
		return nil
	}
	state := nn.StageState(r.forward.Stages)
	digests := make([]byte, 8*len(state))
	for i, n := range state {
		binary.LittleEndian.PutUint64(digests[8*i:], n.Tensor.Digest())
	}
	all, err := g.Exchange("comparing weights", digests)
	if err != nil {
		return err
	}
	for rank, other := range all {
		var differ []string
		for i := range min(len(other), len(digests)) / 8 {
			if !slices.Equal(other[8*i:8*i+8], all[0][8*i:8*i+8]) {
				differ = append(differ, state[i].Name)
			}
		}
		if differ != nil {
			return fmt.Errorf("after %s rank %d has other weights than rank 0: %s; this is a defect of the model's code or of Thaw", after, rank,
				strings.Join(differ, ", "))
		}
	}
	return nil
}

// agreeOn gives an error of one process to all, see dist.Group.Agree.
func (r *run[B]) agreeOn(doing string, err error, known ...error) error {
	return r.options.Group.Agree(doing, err, known...)
}

// agreeOnCache keeps the frozen stages' output where all processes have the memory.
func (r *run[B]) agreeOnCache(plan *Plan, err error) error {
	g := r.options.Group
	if g == nil {
		return err
	}
	if err = g.Agree("planning", err); err != nil {
		return err
	}
	without, err := g.Any("agreeing on what is kept", !plan.Cached)
	plan.Cached = plan.Cached && !without
	return err
}

// agreeOnEpoch gives the end of an epoch on one process to all.
func (r *run[B]) agreeOnEpoch(err error) error {
	if lost := new(dist.Error); errors.As(err, &lost) {
		return err // nobody answers
	}
	return r.agreeOn("ending an epoch", err, Stop, ErrTimeUp)
}

// openTogether is open on all processes, or none.
func (r *run[B]) openTogether() error {
	opened := r.open()
	err := r.agreeOn("opening the run folder", opened, ErrFinished)
	if err == nil {
		if err = r.shareResuming(); err == nil {
			return nil
		}
	}
	if opened == nil && r.options.Group.Rank() == 0 {
		r.resuming.close()
		r.options.Folder.abandon(err)
		r.options.Folder.leave()
	}
	if opened == nil && errors.Is(err, ErrFinished) {
		err = &FolderError{fmt.Errorf("%w, as rank 0 found", ErrFinished)}
	}
	return err
}
