package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/internal/atomicfile"
	"github.com/thaw-ml/thaw/internal/quantity"
	"github.com/thaw-ml/thaw/recipe"
	"github.com/thaw-ml/thaw/report"
)

type lrFindCmd struct {
	Spec      string   `arg:"" help:"The spec, a YAML file."`
	Phase     int      `help:"The phase whose rate is raised, counted from 0 as in the spec (${default}); those before it are trained first." default:"0"`
	From      float64  `help:"The first rate (${default})." default:"1e-7"`
	To        float64  `help:"The last rate (${default}); the curve ends earlier where the loss is four times its lowest." default:"10"`
	Steps     int      `help:"Steps of the curve (${default})." default:"100"`
	Out       string   `help:"The folder to make; by default runs/NAME-lr-1, or the first that is not there." placeholder:"FOLDER"`
	JSON      bool     `name:"json" help:"Print one JSON object: rates, losses, smoothed losses, the valley, the folder."`
	Overrides []string `arg:"" optional:"" name:"key=value" help:"Keys of the spec to set otherwise, as in batch.size=16."`
}

func (*lrFindCmd) Help() string {
	return `Trains some steps while the learning rate rises by the same factor each (Smith 2015), and draws the loss: lr-find.png and lr-find.csv. The suggestion is the middle of the curve's longest fall, as fastai's. All rates of the phase rise together. No weights are kept. docs/guide/settings.md has more.`
}

func (c *lrFindCmd) Run(ctx context.Context, s streams) error {
	if err := alone("lr-find"); err != nil {
		return err
	}
	if !(c.From > 0) || !(c.To > c.From) || c.To > 1e6 || c.Steps < 20 {
		return usageError{fmt.Sprintf("lr-find: --from %g --to %g --steps %d: the rate rises from above 0, in 20 steps or more", c.From, c.To, c.Steps)}
	}
	spec, err := readSpec("lr-find", c.Spec, c.Overrides)
	if err != nil {
		return err
	}
	if c.Phase < 0 || c.Phase >= len(spec.Phases) {
		return usageError{fmt.Sprintf("lr-find: --phase %d: the spec has phases[0] to phases[%d]", c.Phase, len(spec.Phases)-1)}
	}
	if spec.Out = c.Out; spec.Out == "" {
		spec.Out = recipe.NextFolder("runs", specName(c.Spec)+"-lr")
	}
	s.warnOfCPU(spec.Device)
	if err := spec.Check(); err != nil {
		return err
	}
	task, err := recipe.Open(ctx, spec)
	if err != nil {
		return err
	}
	defer task.Close()
	curve, err := task.(recipe.Rehearsal).FindRate(ctx, c.Phase, finetune.RateRange{From: c.From, To: c.To, Steps: c.Steps}, c.progress(s))
	if err != nil {
		return err
	}
	if err := c.save(spec, curve); err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(s.out).Encode(struct {
			*finetune.RateCurve
			Folder string `json:"folder"`
		}{curve, spec.Out})
	}
	return c.print(s.out, spec, curve)
}

// progress tells how far the curve is, ten times.
func (c *lrFindCmd) progress(s streams) func(finetune.Event) error {
	steps := 0
	return func(e finetune.Event) error {
		switch e := e.(type) {
		case train.TaskStarted:
			steps = 0
			if !c.JSON {
				fmt.Fprintf(s.out, "%-9s %s\n", e.Task, quantity.Count(e.Samples, "row", "rows"))
			}
		case train.StepDone:
			if steps++; !c.JSON && e.Epoch > 0 && steps%max(1, c.Steps/10) == 0 {
				fmt.Fprintf(s.out, "%-9s %d\n", "step", steps)
			}
		}
		return nil
	}
}

// key is that of the spec which the rate is for.
func (c *lrFindCmd) key() string { return fmt.Sprintf("phases[%d].lr", c.Phase) }

// save writes the curve's files into a folder of their own.
func (c *lrFindCmd) save(spec *recipe.Spec, curve *finetune.RateCurve) error {
	picture := report.RateCurve{
		Title: specName(c.Spec) + ": loss while the learning rate rises", RateKey: c.key(),
		Rates: curve.Rates, Losses: curve.Losses, Smooth: curve.Smooth, Suggested: curve.Valley, SuggestedName: "valley",
	}
	var rows bytes.Buffer
	w := csv.NewWriter(&rows)
	w.Write([]string{"step", "lr", "loss", "smooth"})
	for i, rate := range curve.Rates {
		row := []string{strconv.Itoa(i + 1)}
		for _, v := range []float64{rate, curve.Losses[i], curve.Smooth[i]} {
			row = append(row, strconv.FormatFloat(v, 'g', -1, 64))
		}
		w.Write(row)
	}
	w.Flush()
	if err := w.Error(); err != nil {
		return err
	}
	png, err := picture.PNG()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(spec.Out), 0o755); err != nil {
		return err
	}
	return atomicfile.Folder(spec.Out, func(folder string) error {
		for name, content := range map[string][]byte{"lr-find.csv": rows.Bytes(), "lr-find.png": png} {
			if err := atomicfile.Write(filepath.Join(folder, name), func(w io.Writer) error {
				_, err := w.Write(content)
				return err
			}); err != nil {
				return err
			}
		}
		return nil
	})
}

func (c *lrFindCmd) print(w io.Writer, spec *recipe.Spec, curve *finetune.RateCurve) error {
	var b strings.Builder
	line := func(subject, format string, args ...any) {
		fmt.Fprintf(&b, "%-9s %s\n", subject, fmt.Sprintf(format, args...))
	}
	n := len(curve.Rates)
	least := slices.Index(curve.Smooth, slices.Min(curve.Smooth))
	how := ""
	if curve.Diverged {
		how = ", where the loss went up for good"
	}
	line("curve", "%s, lr %.2g to %.2g%s · lowest smoothed loss %.4f at %.2g", quantity.Count(n, "step", "steps"), curve.Rates[0], curve.Rates[n-1], how,
		curve.Smooth[least], curve.Rates[least])
	if curve.Valley == 0 {
		line("valley", "none: the loss does not fall; look at the curve, and try more steps (--steps) or a higher --to")
	} else {
		phase := spec.Phases[c.Phase]
		advice := fmt.Sprintf("%s: %.2g", c.key(), curve.Valley)
		if phase.HeadLR != phase.LR {
			advice += fmt.Sprintf("  head_lr: %.2g", curve.Valley*phase.HeadLR/phase.LR)
		}
		line("valley", "%.2g; in the spec: %s", curve.Valley, advice)
	}
	line("folder", "%s", spec.Out)
	_, err := io.WriteString(w, b.String())
	return err
}
