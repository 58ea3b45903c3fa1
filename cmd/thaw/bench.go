package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/thaw-ml/thaw"
	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/internal/atomicfile"
	"github.com/thaw-ml/thaw/internal/benchmark"
	"github.com/thaw-ml/thaw/recipe"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/cuda"
)

type benchCmd struct {
	Cases     string  `arg:"" optional:"" help:"Which cases, as a regular expression; all without one." placeholder:"REGEXP"`
	Device    string  `help:"cpu, cuda or cuda:N; by default the first GPU where there is one." default:"auto"`
	Precision string  `help:"float32 or bfloat16; by default bfloat16 on a GPU that has it." enum:"auto,float32,bfloat16" default:"auto"`
	Mode      string  `help:"eager, graph or cached; by default all that make sense." enum:"all,eager,graph,cached" default:"all"`
	Seconds   float64 `help:"Of a round, about." default:"1"`
	Rounds    int     `help:"Of which the median counts." default:"5"`
	ShareCPUs bool    `name:"share-cpus" help:"Compute otherwise while other programs need the CPUs, as share_cpus in a spec."`
	List      bool    `help:"Print the cases and stop."`
	JSON      string  `name:"json" help:"Write all that was measured to a file too." placeholder:"FILE" type:"path"`
}

func (*benchCmd) Help() string {
	return `Training steps on random weights and random samples: forward, loss, backward, optimiser. The modes are eager (operator by operator), graph (steps are recorded and replayed, on a GPU) and cached (graph, and the frozen layers ran once for each sample before, as in training).`
}

// benchResult is a case in a mode.
type benchResult struct {
	Case  string         `json:"case"`
	Batch int            `json:"batch"`
	Mode  benchmark.Mode `json:"mode"`
	*finetune.Speed
	Error string `json:"error,omitempty"`
}

// benchReport is all that was measured.
type benchReport struct {
	Date      time.Time     `json:"date"`
	Thaw      string        `json:"thaw"`
	Libtorch  string        `json:"libtorch"`
	Device    string        `json:"device"`
	GPU       string        `json:"gpu,omitempty"`
	Driver    string        `json:"driver,omitempty"`
	CuDNN     string        `json:"cudnn,omitempty"`
	Precision string        `json:"precision"`
	Threads   int           `json:"threads"`
	Results   []benchResult `json:"results"`
}

func (c *benchCmd) Run(ctx context.Context, s streams) error {
	wanted, err := regexp.Compile(c.Cases)
	if err != nil {
		return usageError{"bench: " + err.Error()}
	}
	if !(c.Seconds > 0) || c.Rounds < 1 {
		return usageError{"bench: --seconds must be above 0, and --rounds 1 or more"}
	}
	cases := slices.DeleteFunc(benchmark.Cases(), func(b benchmark.Case) bool { return !wanted.MatchString(b.Name) })
	if len(cases) == 0 {
		return usageError{fmt.Sprintf("bench: no case matches %q; thaw bench --list tells what there is", c.Cases)}
	}
	if c.List {
		for _, b := range cases {
			fmt.Fprintln(s.out, b.Name)
		}
		return nil
	}
	chosen := recipe.Spec{Device: c.Device, Precision: c.Precision}
	if err := chosen.ChooseDevice(); err != nil {
		return where{}.wrong("bench", err)
	}
	if chosen.Precision == "auto" { // which a run decides by trying
		chosen.Precision = "float32"
	}
	o := finetune.Options{Device: chosen.Device, Precision: chosen.Precision, Seed: 1, ShareCPUs: c.ShareCPUs}
	if c.JSON != "" { // minutes of measures are not to be lost
		if err := checkWritable(c.JSON); err != nil {
			return usageError{fmt.Sprintf("bench: --json: %v", err)}
		}
	}
	s.warnOfCPU(c.Device)
	report := newBenchReport(o)
	fmt.Fprintln(s.out, report.header())
	var failures []error
	for _, b := range cases {
		for _, mode := range b.Modes(report.GPU != "") {
			if c.Mode != "all" && string(mode) != c.Mode {
				continue
			}
			speed, err := b.Measure(ctx, o, mode, finetune.Effort{Round: time.Duration(c.Seconds * float64(time.Second)), Rounds: c.Rounds})
			result := benchResult{Case: b.Name, Batch: b.Batch, Mode: mode, Speed: speed}
			outcome := "failed: %v"
			if err == nil && report.GPU != "" && mode != benchmark.Eager && len(speed.Captured) == 0 { // it ran, as eager does
				err, outcome = fmt.Errorf("was not captured: %s", strings.Join(speed.Warnings, "; ")), "%v"
			}
			switch {
			case ctx.Err() != nil: // what was measured is kept
				return errors.Join(ctx.Err(), report.write(c.JSON))
			case err != nil:
				failures = append(failures, fmt.Errorf("%s, %s: %w", b.Name, mode, err))
				result.Error = err.Error()
				fmt.Fprintf(s.out, "%-28s %-7s "+outcome+"\n", b.Name, mode, err)
			default:
				fmt.Fprintf(s.out, "%-28s %-7s %10.1f samples/s %8.2f GB\n", b.Name, mode, speed.SamplesPerSecond, float64(speed.PeakBytes)/1e9)
				for _, choice := range speed.Threads {
					fmt.Fprintf(s.out, "%-28s %-7s %s\n", b.Name, mode, choice)
				}
				for _, warning := range speed.Warnings {
					fmt.Fprintf(s.out, "%-28s %-7s warning: %s\n", b.Name, mode, warning)
				}
			}
			report.Results = append(report.Results, result)
		}
	}
	if len(report.Results) == 0 {
		return usageError{fmt.Sprintf("bench: --mode %s: none of these cases runs so on %s", c.Mode, o.Device)}
	}
	return errors.Join(append(failures, report.write(c.JSON))...)
}

// header says what is measured on.
func (r benchReport) header() string {
	device := r.Device
	if r.GPU != "" {
		device += " " + r.GPU
	}
	return fmt.Sprintf("thaw %s · libtorch %s · %s · %s", r.Thaw, r.Libtorch, device, r.Precision)
}

// write writes the report as JSON, where a path is given.
func (r benchReport) write(path string) error {
	if path == "" {
		return nil
	}
	return atomicfile.WriteJSON(path, r)
}

func newBenchReport(o finetune.Options) benchReport {
	r := benchReport{
		Date: time.Now().UTC().Truncate(time.Second), Thaw: thaw.Version, Libtorch: torch.Version(), Device: o.Device,
		Precision: o.Precision, Threads: torch.NumThreads(),
	}
	device, err := torch.ParseDevice(o.Device)
	devices, failure := cuda.Devices()
	if err == nil && failure == nil && device.Type == torch.CUDAType && device.Index < len(devices) {
		r.GPU = devices[device.Index].Name
	}
	if v, err := cuda.FindVersions(); err == nil && r.GPU != "" {
		r.Driver, r.CuDNN = v.Driver.String(), v.CuDNN.String()
	}
	return r
}
