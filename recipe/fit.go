package recipe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/finetune/train/metric"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/data"
)

// fit trains a model as a spec says, and leaves the run folder that it names.
func fit[B data.Batch[B]](
	ctx context.Context, s *Spec, model finetune.Model[B], trainSet, testSet data.Dataset[B], o finetune.Options, shown shown,
) (*finetune.Result, error) {
	text, err := s.YAML()
	if err != nil {
		return nil, err
	}
	o.Folder.Add(finetune.SpecFile, text)
	finish := record(s, model, &o, shown)
	result, err := finetune.Fit(ctx, model, trainSet, testSet, o)
	finish()
	return result, s.located(err)
}

// located gives an error the place in the spec of what caused it.
func (s *Spec) located(err error) error {
	if phase, ok := errors.AsType[*finetune.PhaseError](err); ok {
		return s.Errorf(fmt.Sprintf("phases[%d].train", phase.Phase), "%w", phase.Err)
	}
	if best, ok := errors.AsType[*finetune.BestError](err); ok {
		return s.Errorf("best", "%w", best)
	}
	if device, ok := errors.AsType[*train.DeviceError](err); ok {
		return s.Errorf(device.Option, "%w", device.Err)
	}
	if folder, ok := errors.AsType[*finetune.FolderError](err); ok {
		return s.Errorf("out", "%w", folder.Err)
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		if newest, failed := finetune.NewFolder(s.Out).NewestCheckpoint(); failed == nil && newest != "" {
			return fmt.Errorf("%w: %s is kept: make room there, and go on with thaw resume %s", err, newest, s.Out)
		}
		return fmt.Errorf("%w: make room there, or give another folder (out)", err)
	}
	if errors.Is(err, torch.ErrOutOfMemory) {
		return fmt.Errorf("%w (keys of the spec: batch.size, batch.eval_size, %s)", err, s.kind().sizeKey())
	}
	return err
}

// ChooseDevice makes "auto" a device and a precision; a device that this program cannot use is an error. The precision stays "auto"
// on a CPU that multiplies bfloat16, where a run tries which is better.
func (s *Spec) ChooseDevice() error {
	f := newFaults(s.source)
	f.device("device", &s.Device)
	f.choice("precision", &s.Precision, "auto", "float32", "bfloat16", "float16")
	if err := f.err(); err != nil {
		return err
	}
	device, precision, err := train.ChooseDevice(s.Device, s.Precision)
	if err != nil {
		return s.located(err)
	}
	open := s.Precision == "auto" && device.Type == torch.CPUType && device.MultipliesBFloat16()
	if s.Device = device.String(); !open {
		s.Precision = precision.String()
	}
	return nil
}

// checkPhases makes sure that every phase trains something that a model has.
func checkPhases[B data.Batch[B]](s *Spec, model finetune.Model[B]) error {
	return s.located(finetune.CheckPhases(model, s.Options().Phases))
}

// evaluate measures a model on a data set by an objective, so many samples at a time where the options do not say.
func evaluate[B data.Batch[B]](
	ctx context.Context, model finetune.Model[B], set data.Dataset[B], measured train.Objective, o EvalOptions, batch int,
) (*metric.Score, error) {
	device, precision, err := chosenDevice(o.Device, o.Precision)
	if err != nil {
		return nil, err
	}
	n, err := finetune.NewInference(model, device, precision)
	if err != nil {
		return nil, err
	}
	defer n.Close()
	score, err := n.EvaluateWith(ctx, set, measured, cmp.Or(o.Batch, batch))
	return &score, err
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
