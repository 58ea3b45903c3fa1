package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/thaw-ml/thaw/cmd/thaw/terminal"
	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/internal/launch"
	"github.com/thaw-ml/thaw/recipe"
)

type trainCmd struct {
	Spec      string   `arg:"" help:"The spec, a YAML file."`
	Log       string   `help:"How events are written: text, for people, or json, an object a line with time, level, msg and fields." enum:"text,json" default:"text" placeholder:"FORMAT"`
	Resume    bool     `name:"resume-if-there" help:"Go on with the run in the spec's folder out where one was begun; without it a folder that exists is an error."`
	Overrides []string `arg:"" optional:"" name:"key=value" help:"Keys of the spec to set otherwise, as in seed=2 phases[0].lr=1e-4."`
}

func (*trainCmd) Help() string {
	return `The run folder is the spec's key out; without it, the first of runs/NAME-1, runs/NAME-2, ... that is not there, NAME being the spec's. A folder that exists is never written into.

preset=NAME stands for phases and more, after: ` + presets() + `.

README.md shows a spec; go doc github.com/thaw-ml/thaw/recipe.Spec tells all keys. Paths in the spec are relative to its folder, those in key=value to the working folder.`
}

// presets lists the names of presets.
func presets() string {
	var names []string
	for _, p := range recipe.Presets {
		names = append(names, p.Name)
	}
	return strings.Join(names, ", ")
}

func (c *trainCmd) Run(ctx context.Context, s streams) error {
	if err := launch.Check(os.Getenv); err != nil {
		return usageError{"train: " + err.Error()}
	}
	spec, err := readSpec("train", c.Spec, c.Overrides)
	if err != nil {
		return err
	}
	if c.Resume && spec.Out == "" {
		return usageError{"train: --resume-if-there needs the run folder's name: set out in the spec, or out=FOLDER"}
	}
	if spec.Out == "" {
		spec.Out = recipe.NextFolder("runs", specName(c.Spec))
	}
	t := training{spec: spec, log: c.Log}
	if c.Resume {
		started, finished := spec.Started()
		if finished {
			fmt.Fprintf(s.err, "thaw: %s came to its end already\n", spec.Out)
			return nil
		}
		t.resume, t.compare = started, started
	}
	return t.run(ctx, s)
}

// training is a run to begin, or to go on with.
type training struct {
	spec    *recipe.Spec
	log     string
	resume  bool
	compare bool // the spec with that of the run that goes on
}

func (t training) run(ctx context.Context, s streams) error {
	spec := t.spec
	onCPU := s.onCPU(spec.Device)
	if err := spec.Check(); err != nil {
		return err
	}
	settings := terminal.Settings{
		Folder: spec.Out, Device: spec.Device, Precision: spec.Precision, Threads: spec.Threads, Phases: len(spec.Phases),
	}
	var view view = terminal.New(s.out, settings)
	if t.log == "json" {
		view = terminal.NewRecords(s.out, settings)
	}
	view.Greet()
	if onCPU != "" {
		view.Note("warning", onCPU)
	}
	result, err := t.train(ctx, view)
	view.Close()
	if err != nil {
		view.Abandon(err)
		return err
	}
	view.Finish(result)
	return nil
}

// view shows a run.
type view interface {
	Greet()
	Note(subject, text string)
	Event(e finetune.Event) error
	Close()
	Abandon(err error)
	Finish(r *finetune.Result)
}

// train opens what the spec asks for and trains it.
func (t training) train(ctx context.Context, view view) (*finetune.Result, error) {
	task, err := recipe.Open(ctx, t.spec)
	if err != nil {
		return nil, err
	}
	defer task.Close()
	if t.resume && t.compare {
		if err := t.spec.SameRun(); err != nil {
			return nil, err
		}
	}
	for _, line := range task.Describe() {
		view.Note(line[0], line[1])
	}
	if t.resume {
		return task.Resume(ctx, view.Event)
	}
	return task.Train(ctx, view.Event)
}
