// Command bench measures Thaw beside the Python stack: both in one run, in turn, on the same machine.
//
//	go run . [-rounds N] [opcall] [tokenizer] [loader] [steps] [demo] [lora] [dist] [detect] [all]
//	go run . opcall -profile
//	go run . overlap
//	go run . scale
//	go run . shared [-only REGEXP]
//	go run . runs [-only REGEXP] [-share 0.25] [-quota 1.5] [-forecast]
//
// opcall is the cost of a call of an operator, tokenizer that of tokenizing two files of texts, loader that of making
// training batches of JPEGs, steps that of training steps of whole networks on the CPU, demo the whole fine-tuning of
// `make demo`, and dist that of training on two ranks beside DistributedDataParallel. overlap, which is part of dist,
// shows when gradients are sent; scale computes what more GPUs would bring; shared is steps beside busy processes,
// which taskset keeps to a core, and takes half an hour; runs are whole fine-tunings beside PyTorch twice, as its
// defaults are and as its best user writes it, and take hours, with -share less; their rounds have seeds of their own,
// the same on all sides. Without a name it is opcall and tokenizer, as the others take minutes. Each prints a table and
// leaves its rounds, with the machine and the versions, in results. The machine should have nothing else to do. It runs
// in the folder bench and needs what `make bench` brings.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
)

// wanted are the trials that were asked for.
func (o options) wanted(all []trial) []trial {
	return slices.DeleteFunc(all, func(t trial) bool { return o.only != nil && !o.only.MatchString(t.name) })
}

// options is the command line.
type options struct {
	benchmarks []string
	rounds     int            // 0: as many as the benchmark takes by itself
	calls      int            // of an operator, a round
	profile    bool           // opcall: where the time goes, in place of how much it is
	seconds    float64        // of profiling, a case
	results    string         // the folder for results
	only       *regexp.Regexp // of detect, dist, shared and runs, the cases; nil is all
	share      float64        // runs: what peers train of all steps
	forecast   bool           // runs: ask thaw plan first
	quota      float64        // runs: CPUs that both sides may use; 0 is all
}

var benchmarks = map[string]func(options) error{
	"opcall": runOpcall, "tokenizer": runTokenizer, "loader": runLoader, "steps": runSteps, "demo": runDemo, "lora": runLoRA,
	"dist": runDist, "overlap": runOverlap, "detect": runDetect, "scale": runScale, "shared": runShared,
	"runs": runRuns,
}

const usage = "usage: go run . [flags] [opcall] [tokenizer] [loader] [steps] [demo] [lora] [dist] [detect] [overlap] [scale] [shared] [runs] [all]    (by default: opcall tokenizer)\n"

// parse reads the command line; flags may stand behind names.
func parse(args []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.IntVar(&o.rounds, "rounds", 0, "rounds of each side; 0 is 7, 3 for steps, lora and dist, and 1 for demo, shared and runs")
	flags.IntVar(&o.calls, "calls", 200_000, "opcall: calls of an operator, a round")
	flags.BoolVar(&o.profile, "profile", false, "opcall: show where Thaw's time goes instead (needs perf)")
	flags.Float64Var(&o.seconds, "seconds", 5, "opcall -profile: seconds of each case")
	flags.Func("only", "detect, dist, shared, runs: the cases whose names match a `regexp`", func(text string) (err error) {
		o.only, err = regexp.Compile(text)
		return err
	})
	flags.Float64Var(&o.share, "share", 1, "runs: peers train this share of the steps, of a sweep with one rate and seed, and their time is multiplied")
	flags.BoolVar(&o.forecast, "forecast", false, "runs: set what thaw plan predicts beside what each of Thaw's runs took; sweeps have no forecast")
	flags.Float64Var(&o.quota, "quota", 0, "runs: a control group lets both sides use so many `CPUs`, as 1.5; 0 is no limit (needs root)")
	flags.StringVar(&o.results, "results", "results", "the `folder` for results")
	for {
		if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
			fmt.Print(usage)
			flags.SetOutput(os.Stdout)
			flags.PrintDefaults()
			return o, err
		} else if err != nil {
			return o, err
		}
		if flags.NArg() == 0 {
			break
		}
		name := flags.Arg(0)
		switch {
		case name == "all":
			o.benchmarks = []string{"opcall", "tokenizer", "loader", "steps", "demo", "lora", "dist", "detect"}
		case benchmarks[name] == nil:
			return o, fmt.Errorf("%q is no benchmark", name)
		case !slices.Contains(o.benchmarks, name):
			o.benchmarks = append(o.benchmarks, name)
		}
		args = flags.Args()[1:]
	}
	if len(o.benchmarks) == 0 {
		o.benchmarks = []string{"opcall", "tokenizer"}
		if o.profile {
			o.benchmarks = []string{"opcall"}
		}
	}
	switch {
	case !(o.share > 0 && o.share <= 1):
		return o, errors.New("-share must be above 0 and at most 1")
	case !(o.quota >= 0 && o.quota <= 1024):
		return o, errors.New("-quota must be 0, none, or above")
	case o.rounds < 0 || o.calls < 1 || o.seconds <= 0:
		return o, errors.New("-rounds, -calls and -seconds must be above 0")
	case o.profile && !slices.Equal(o.benchmarks, []string{"opcall"}):
		return o, errors.New("-profile is for opcall alone")
	}
	return o, nil
}

func main() {
	if os.Getenv(spinnerKey) != "" {
		spin()
	}
	if os.Getenv(detectKey) != "" {
		os.Exit(detectSide(os.Args[1:]))
	}
	if os.Getenv(overlapKey) != "" {
		os.Exit(overlapRank())
	}
	o, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n%s", err, usage)
		os.Exit(2)
	}
	for _, name := range o.benchmarks {
		if err := benchmarks[name](o); err != nil {
			fmt.Fprintf(os.Stderr, "bench: %s: %v\n", name, err)
			os.Exit(1)
		}
	}
}
