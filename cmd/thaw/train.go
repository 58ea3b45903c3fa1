package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/thaw-ml/thaw/cmd/thaw/terminal"
	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/recipe"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/dist"
	"github.com/thaw-ml/thaw/torch/dist/launch"
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
	w, err := place("train")
	if err != nil {
		return err
	}
	if w.Starter {
		return startRanks(ctx, s, launch.Local{World: w, Command: os.Args[1:]})
	}
	spec, err := readSpec("train", c.Spec, c.Overrides)
	if err != nil {
		return err
	}
	if c.Resume && spec.Out == "" {
		return usageError{"train: --resume-if-there needs the run folder's name: set out in the spec, or out=FOLDER"}
	}
	t := training{spec: spec, log: c.Log, ifThere: c.Resume, name: specName(c.Spec)}
	return t.together(ctx, s, w)
}

// training is a run to begin, or to go on with.
type training struct {
	spec    *recipe.Spec
	log     string
	resume  bool
	ifThere bool   // resume where there is something to go on with
	name    string // of the spec's file
	compare bool   // the spec with that of the run that goes on
	world   launch.World
	group   *dist.Group // nil: one process
}

// together trains in one of the world's processes.
func (t training) together(ctx context.Context, s streams, w launch.World) (err error) {
	t.world = w
	var device torch.Device
	if w.Size > 1 {
		if device, err = train.RankDevice(cmp.Or(t.spec.Device, "auto"), w.LocalRank, w.LocalSize); err != nil {
			return usageError{"train: " + err.Error()}
		}
		if device.Type == torch.CUDAType {
			t.spec.Device = device.String()
		}
	}
	if t.group, err = dist.Join(ctx, w, dist.Options{Timeout: t.spec.Distributed.Wait(), Device: device}); err != nil {
		return err
	}
	defer func() {
		if err != nil && t.group != nil {
			t.group.Fail(err)
			launch.WriteErrorFile(os.Getenv, err) //nolint:errcheck // the error itself is told
		}
		t.group.Close(err != nil)
	}()
	t.spec.Together(t.group, w.Threads(os.Getenv))
	over, err := t.choose()
	if err != nil {
		return err
	}
	if over {
		if w.Rank == 0 {
			fmt.Fprintf(s.err, "thaw: %s came to its end already\n", t.spec.Out)
		}
		return nil
	}
	return t.run(ctx, s)
}

// choose finds, for all processes, the run folder and whether a run goes on there. over says that it came to its end.
func (t *training) choose() (over bool, err error) {
	choice := struct {
		Out          string
		Resume, Over bool
	}{t.spec.Out, t.resume, false}
	if t.world.Rank == 0 {
		if choice.Out == "" {
			choice.Out = recipe.NextFolder("runs", t.name)
		}
		if t.ifThere {
			choice.Resume, choice.Over = t.spec.Started()
		}
	}
	message, err := json.Marshal(choice)
	if err != nil {
		return false, err
	}
	if message, err = t.group.Send("choosing the run folder", 0, message); err != nil {
		return false, err
	}
	if err := json.Unmarshal(message, &choice); err != nil {
		return false, err
	}
	t.spec.Out, t.resume, t.compare = choice.Out, choice.Resume, t.ifThere && choice.Resume
	if t.resume {
		t.spec.GoesOn()
	}
	return choice.Over, nil
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
	switch {
	case t.world.Rank != 0:
		view = silent{}
	case t.log == "json":
		view = terminal.NewRecords(s.out, settings)
	}
	view.Greet()
	if t.world.By != "" {
		view.Note("processes", t.world.String())
	}
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

// silent is the view of a process that is not rank 0.
type silent struct{}

func (silent) Greet()                     {}
func (silent) Note(string, string)        {}
func (silent) Event(finetune.Event) error { return nil }
func (silent) Close()                     {}
func (silent) Abandon(error)              {}
func (silent) Finish(*finetune.Result)    {}

// train opens what the spec asks for and trains it.
func (t training) train(ctx context.Context, view view) (*finetune.Result, error) {
	task, err := recipe.Open(ctx, t.spec)
	if err = t.group.Agree("reading the spec, its model and its data", err); err != nil {
		if task != nil {
			task.Close()
		}
		return nil, err
	}
	defer task.Close()
	if t.resume && t.compare {
		if t.world.Rank == 0 {
			err = t.spec.SameRun()
		}
		if err = t.group.Agree("comparing the spec with the run's", err); err != nil {
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
