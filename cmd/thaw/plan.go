package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/internal/quantity"
	"github.com/thaw-ml/thaw/recipe"
	"github.com/thaw-ml/thaw/report"
)

type planCmd struct {
	Spec      string   `arg:"" name:"spec" help:"The spec, a YAML file, or the folder of a run that has ended: what was measured is printed beside."`
	JSON      bool     `name:"json" help:"Print one JSON object: seconds of each phase and in all, memory, and of a run what was measured."`
	Overrides []string `arg:"" optional:"" name:"key=value" help:"Keys of the spec to set otherwise, as in batch.size=16."`
}

func (*planCmd) Help() string {
	return `Times a few batches of each phase, of small and large sizes, and tells what the run will cost: what is frozen and trained, seconds and memory. Nothing is written. The times are those of this machine as busy as it is now. docs/guide/settings.md has more.`
}

func (c *planCmd) Run(ctx context.Context, s streams) error {
	if err := alone("plan"); err != nil {
		return err
	}
	path, run := c.Spec, (*report.Run)(nil)
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		if run, err = report.Read(path); err != nil || run.Result == nil {
			return usageError{fmt.Sprintf("plan: %s is no run folder whose run has ended: give a spec, or such a folder", path)}
		}
		path = filepath.Join(path, finetune.SpecFile)
	}
	spec, err := readSpec("plan", path, c.Overrides)
	if err != nil {
		return err
	}
	spec.Out = ""
	s.warnOfCPU(spec.Device)
	if err := spec.Check(); err != nil {
		return err
	}
	task, err := recipe.Open(ctx, spec)
	if err != nil {
		return err
	}
	defer task.Close()
	if !c.JSON {
		for _, line := range task.Describe() {
			fmt.Fprintf(s.out, "%-9s %s\n", line[0], line[1])
		}
	}
	forecast, err := task.(recipe.Rehearsal).EstimateCost(ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		var measured *finetune.Result
		if run != nil {
			measured = run.Result
		}
		return json.NewEncoder(s.out).Encode(struct {
			*finetune.Forecast
			Seconds  float64          `json:"seconds"`
			Measured *finetune.Result `json:"measured,omitempty"`
		}{forecast, forecast.Total(), measured})
	}
	return printForecast(s.out, forecast, run)
}

func printForecast(w io.Writer, f *finetune.Forecast, run *report.Run) error {
	var b strings.Builder
	line := func(subject, format string, args ...any) {
		fmt.Fprintf(&b, "%-9s %s\n", subject, fmt.Sprintf(format, args...))
	}
	measured := 0
	for i, p := range f.Phases {
		subject := "plan"
		if len(f.Phases) > 1 {
			subject = fmt.Sprintf("phase %d", i+1)
		}
		for _, text := range strings.Split(p.Plan.String(), "\n") {
			line(subject, "%s", text)
			subject = ""
		}
		line("", "about %s: frozen stages %s · training %s (%s a step) · evaluation %s", aboutTime(p.Prefix+p.Train+p.Evaluate), aboutTime(p.Prefix),
			aboutTime(p.Train), aboutTime(p.Train/float64(max(1, p.Steps))), aboutTime(p.Evaluate))
		if name, share := p.Bottleneck(); name != "" {
			line("", "most of it: %s, %.0f%%%s", name, 100*share, adviceOn(p))
		}
		if p.Taken >= 0.25 {
			line("", "other programs took %.1f CPUs meanwhile: alone it is faster; share_cpus: true looks for the fastest way beside them", p.Taken)
		}
		measured += p.Measured
	}
	memory := fmt.Sprintf("%.2f GB", float64(f.PeakBytes)/1e9)
	if f.PeakDeviceBytes > 0 {
		memory += fmt.Sprintf(", on the GPU %.2f GB", float64(f.PeakDeviceBytes)/1e9)
	}
	line("predicted", "frozen stages %s · training %s · evaluation %s · in all %s · peak memory %s",
		aboutTime(f.Prefix), aboutTime(f.Train), aboutTime(f.Evaluate), aboutTime(f.Total()), memory)
	if run != nil {
		t := run.Result.Seconds
		sum := t.Prefix + t.Train + t.Evaluate
		line("measured", "frozen stages %s · training %s · evaluation %s · in all %s · peak memory %.2f GB",
			aboutTime(t.Prefix), aboutTime(t.Train), aboutTime(t.Evaluate), aboutTime(sum), float64(run.Result.PeakBytes)/1e9)
		if sum > 0 && run.Result.PeakBytes > 0 {
			line("", "the prediction is %.2f of the measured time and %.2f of the memory", f.Total()/sum, float64(f.PeakBytes)/float64(run.Result.PeakBytes))
		}
	}
	line("from", "%s and as many of the other batches, timed in %s on this machine as busy as it is now",
		quantity.Count(measured, "step", "steps"), aboutTime(f.Took))
	_, err := io.WriteString(w, b.String())
	return err
}

// adviceOn says what makes the part of a phase shorter that takes longest; "" where nothing is to be had for nothing.
func adviceOn(p finetune.PhaseForecast) string {
	switch name, _ := p.Bottleneck(); {
	case name == finetune.DataPart:
		return "; pictures that are stored smaller are read faster, and more cores read more at a time"
	case name == finetune.PrefixPart && !p.Plan.Cached && p.Plan.NumFrozen > 0:
		return ", at every step; images: {augment: none}, or cache: {views: 4}, runs them once"
	case name == finetune.PrefixPart && !p.Plan.CacheOnDisk:
		return ", once; with cache: disk later runs do not compute them again"
	case name == finetune.OptimizerPart:
		return "; larger batches make fewer updates"
	}
	return ""
}

// aboutTime writes seconds in few digits: 41ms, 2.3s, 1m10s.
func aboutTime(seconds float64) string {
	switch {
	case seconds == 0:
		return "0s"
	case seconds < 1:
		return fmt.Sprintf("%.0fms", 1000*seconds)
	case seconds < 10:
		return fmt.Sprintf("%.1fs", seconds)
	}
	return (time.Duration(seconds+0.5) * time.Second).String()
}
