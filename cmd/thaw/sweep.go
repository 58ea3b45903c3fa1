package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/internal/columns"
	"github.com/thaw-ml/thaw/internal/quantity"
	"github.com/thaw-ml/thaw/recipe"
)

type sweepCmd struct {
	Spec     string   `arg:"" help:"The spec, a YAML file."`
	Settings []string `arg:"" name:"key=values" help:"Keys of the spec with their values, as in lr=1e-5,3e-5 seed=0..4; a key with one value is set for all runs."`
	Out      string   `help:"The sweep's folder; by default runs/NAME-sweep-1, or the first that is not there." placeholder:"FOLDER"`
	JSON     bool     `name:"json" help:"Print one JSON object at the end: keys, runs and groups."`
}

func (*sweepCmd) Help() string {
	return `Trains every combination of the values, each in a folder of its own below the sweep's, and tells the mean and the standard deviation over the seeds. lr is the rate of the last phase; the spec's or its preset's other rates keep their proportions to it. Frozen layers that runs have in common are computed once. Each run comes to the same numbers, bit for bit, as thaw train with the same keys.

The same command goes on where a sweep was interrupted: runs that have finished are not trained again, one that was interrupted goes on from its checkpoint, and those that failed are tried again. docs/guide/settings.md has more.`
}

func (c *sweepCmd) Run(ctx context.Context, s streams) error {
	if err := alone("sweep"); err != nil {
		return err
	}
	sweep, err := recipe.OpenSweep(c.Spec, c.Settings, c.Out)
	if err != nil {
		return c.wrong(err)
	}
	if err := sweep.Check(); err != nil {
		return err
	}
	out := s.out
	if c.JSON {
		out = io.Discard
	}
	fmt.Fprintf(out, "%-9s %s · %d to train\n", "sweep", quantity.Count(len(sweep.Runs), "run", "runs"), sweep.Waiting())
	err = sweep.Run(ctx, recipe.SweepEvents{
		Started: func(n int, run *recipe.SweepRun, goesOn bool) {
			how := ""
			if goesOn {
				how = "  goes on"
			}
			fmt.Fprintf(out, "%-9s %s%s\n", fmt.Sprintf("%d/%d", n, len(sweep.Runs)), run.Name, how)
		},
		Event: func(e finetune.Event) error {
			if e, ok := e.(finetune.EpochDone); ok {
				fmt.Fprintf(out, "%-9s epoch %d  train loss %.4f  %v\n", "", e.Number, e.TrainLoss, e.Test)
			}
			return nil
		},
		Ended: func(n int, run *recipe.SweepRun) {
			if run.State == recipe.Failed {
				fmt.Fprintf(out, "%-9s failed: %s\n", "", run.Error)
			}
		},
	})
	if err != nil {
		if errors.Is(err, context.Canceled) || errors.Is(err, finetune.ErrTimeUp) {
			fmt.Fprintf(out, "\n%-9s %s: the same command goes on\n", "sweep", sweep.Folder())
		}
		return err
	}
	if c.JSON {
		err = json.NewEncoder(s.out).Encode(sweep)
	} else {
		err = printSweep(out, sweep)
	}
	if failed := sweep.Waiting(); err == nil && failed > 0 {
		return fmt.Errorf("sweep: %s of %d failed; the same command tries them again", quantity.Count(failed, "run", "runs"), len(sweep.Runs))
	}
	return err
}

// wrong is a usage error where the command line, or the spec's path, is at fault.
func (c *sweepCmd) wrong(err error) error {
	if grid, ok := errors.AsType[*recipe.GridError](err); ok {
		return usageError{"sweep: " + grid.Error()}
	}
	if _, failure := readSpec("sweep", c.Spec, nil); failure != nil && !errors.As(err, new(recipe.SpecErrors)) {
		return failure
	}
	return err
}

// printSweep prints a row for each group of runs, the best marked.
func printSweep(w io.Writer, sweep *recipe.Sweep) error {
	head := []string{""}
	var keys []string
	for _, key := range sweep.Keys {
		if key != "seed" {
			keys = append(keys, key)
			head = append(head, key)
		}
	}
	rows := [][]string{append(head, sweep.Metric, "deviation", "runs", "time a run")}
	for _, g := range sweep.Table() {
		row := []string{""}
		if g.Best {
			row[0] = "best"
		}
		for _, key := range keys {
			row = append(row, g.Values[key])
		}
		mean, deviation := "-", "-"
		if g.Mean != nil {
			mean = fmt.Sprintf("%.4f", *g.Mean)
		}
		if g.Deviation != nil {
			deviation = fmt.Sprintf("%.4f", *g.Deviation)
		}
		runs := fmt.Sprint(g.Runs)
		if g.Failed > 0 {
			runs += fmt.Sprintf(", %d failed", g.Failed)
		}
		rows = append(rows, append(row, mean, deviation, runs, time.Duration(g.Seconds*float64(time.Second)).Round(100*time.Millisecond).String()))
	}
	var b strings.Builder
	b.WriteByte('\n')
	b.WriteString(columns.Format(rows))
	fmt.Fprintf(&b, "\n%-9s %s\n", "folder", sweep.Folder())
	_, err := io.WriteString(w, b.String())
	return err
}
