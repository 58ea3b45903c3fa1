package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/finetune/terminal"
	"github.com/thaw-ml/thaw/hub"
	"github.com/thaw-ml/thaw/text"
	"github.com/thaw-ml/thaw/vision"
)

type trainCmd struct {
	Spec      string   `arg:"" help:"The spec, a YAML file."`
	Overrides []string `arg:"" optional:"" name:"key=value" help:"Keys of the spec to set otherwise, as in seed=2 phases[0].lr=1e-4."`
}

func (*trainCmd) Help() string {
	return `The run folder is the spec's key out; without it, the first of runs/NAME-1, runs/NAME-2, ... that is not there, NAME being the spec's. A folder that exists is never written into.

README.md shows a spec; go doc github.com/thaw-ml/thaw/finetune.Spec tells all keys. Paths in the spec are relative to its folder, those in key=value to the working folder.`
}

func (c *trainCmd) Run(ctx context.Context, s streams) error {
	spec, err := finetune.ReadSpec(c.Spec, c.Overrides...)
	if errors.As(err, new(finetune.SpecErrors)) {
		return err
	}
	if info, failure := os.Stat(c.Spec); failure == nil && info.IsDir() {
		return usageError{fmt.Sprintf("train: %s is a folder; expected a spec, a YAML file", c.Spec)}
	}
	if err != nil {
		return usageError{"train: " + unreadable("file", c.Spec, err)}
	}
	if spec.Out == "" {
		name := strings.TrimSuffix(filepath.Base(c.Spec), filepath.Ext(c.Spec))
		spec.Out = finetune.NextFolder("runs", name)
	}
	onCPU := s.onCPU(spec.Device)
	if err := spec.ChooseDevice(); err != nil {
		return finetune.JoinFaults(err, spec.CheckPaths(hub.LocalFineTunable))
	}
	view := terminal.New(s.out, spec)
	view.Greet()
	if onCPU != "" {
		view.Note("warning", onCPU)
	}
	var result *finetune.Result
	if spec.OfPictures() {
		result, err = trainPictures(ctx, &spec, view)
	} else {
		result, err = trainTexts(ctx, &spec, view)
	}
	view.Close()
	if err != nil {
		view.Abandon()
		return err
	}
	view.Finish(result)
	return nil
}

func trainTexts(ctx context.Context, spec *finetune.Spec, view *terminal.View) (*finetune.Result, error) {
	task, err := text.Prepare(spec)
	if err != nil {
		return nil, err
	}
	defer task.Model.Close()
	for _, line := range task.Describe() {
		view.Note(line[0], line[1])
	}
	return finetune.Run(ctx, *spec, task.Model, task.Train, task.Test, view)
}

func trainPictures(ctx context.Context, spec *finetune.Spec, view *terminal.View) (*finetune.Result, error) {
	task, err := vision.Prepare(ctx, spec)
	if err != nil {
		return nil, err
	}
	defer task.Model.Close()
	for _, line := range task.Describe() {
		view.Note(line[0], line[1])
	}
	result, err := finetune.Run(ctx, *spec, task.Model, task.Train, task.Test, view)
	if skipped := task.Skipped(); err == nil && skipped != "" {
		view.Note("warning", skipped)
	}
	return result, err
}
