package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/thaw-ml/thaw/recipe"
	"github.com/thaw-ml/thaw/torch/dist/launch"
)

type resumeCmd struct {
	Run_      string   `arg:"" name:"run" help:"The folder of a run that did not come to its end."`
	Log       string   `help:"How events are written: text, for people, or json, an object a line with time, level, msg and fields." enum:"text,json" default:"text" placeholder:"FORMAT"`
	Verify    bool     `help:"Train from the oldest checkpoint to the newest, compare the two bit for bit, and write nothing."`
	Overrides []string `arg:"" optional:"" name:"key=value" help:"Keys of checkpoint and distributed, and stop_after and accept, to set otherwise."`
}

func (*resumeCmd) Help() string {
	return `The run goes on from its newest checkpoint, with the same numbers to the last digit as if it had not been interrupted. Where it had none yet, it begins anew in the same folder.`
}

func (c *resumeCmd) Run(ctx context.Context, s streams) error {
	w, err := place("resume")
	if err != nil {
		return err
	}
	if w.Starter {
		return startRanks(ctx, s, launch.Local{World: w, Command: os.Args[1:]})
	}
	if w.Size > 1 && c.Verify {
		return usageError{"resume: --verify runs in one process: start it once, without the launcher"}
	}
	spec, err := recipe.ReadRun(c.Run_, c.Overrides...)
	if _, ok := errors.AsType[*recipe.OpenError](err); ok {
		return usageError{"resume: " + err.Error()}
	}
	if err != nil {
		return err
	}
	if _, finished := spec.Started(); finished && w.Rank == 0 {
		return usageError{"resume: " + c.Run_ + " came to its end already"}
	}
	if c.Verify {
		return verify(ctx, &spec, s)
	}
	return training{spec: &spec, log: c.Log, resume: true}.together(ctx, s, w)
}

// verify proves that a run goes on as it would have.
func verify(ctx context.Context, spec *recipe.Spec, s streams) error {
	if err := spec.Check(); err != nil {
		return err
	}
	task, err := recipe.Open(ctx, spec)
	if err != nil {
		return err
	}
	defer task.Close()
	from, to, err := task.Verify(ctx, nil)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.out, "from      %s\nto        %s\nverified  every tensor is the same, bit for bit\n", from, to)
	return err
}
