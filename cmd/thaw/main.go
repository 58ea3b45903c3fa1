// Command thaw fine-tunes pre-trained networks.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/thaw-ml/thaw"
	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/recipe"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/dist/launch"
)

// Exit codes.
const (
	exitOK      = 0
	exitFailed  = 1                          // a run failed, or what it read is at fault
	exitUsage   = 2                          // a wrong command line or spec
	exitStopped = 75                         // stopped by SIGTERM or Ctrl-C, in order: what was trained is kept; sysexits.h has it as "try again"
	exitPipe    = 128 + int(syscall.SIGPIPE) // nobody reads the output any more, as behind | head: said to nobody, as other programs do
)

type cli struct {
	Train    trainCmd    `cmd:"" help:"Fine-tune a model as a spec says."`
	Check    checkCmd    `cmd:"" help:"Look for what makes a spec's data unfit to train or to measure on."`
	Plan     planCmd     `cmd:"" help:"Predict what a run costs, in time and memory, from a few batches."`
	LrFind   lrFindCmd   `cmd:"" name:"lr-find" help:"Find a learning rate: raise it step by step and draw the loss."`
	Sweep    sweepCmd    `cmd:"" help:"Train a spec with each of several values of its keys, and compare them."`
	Launch   launchCmd   `cmd:"" help:"Train with several processes of this machine, one for each GPU, say."`
	Resume   resumeCmd   `cmd:"" help:"Go on with a run that was interrupted."`
	Eval     evalCmd     `cmd:"" help:"Measure a run's best model on labelled texts or images."`
	Predict  predictCmd  `cmd:"" help:"Classify texts or images with a run's best model, or a downloaded one."`
	Report   reportCmd   `cmd:"" help:"Make a run's report.html, curves.png and confusion.png anew."`
	Compare  compareCmd  `cmd:"" help:"Table what runs came to, and what differs in their specs."`
	Export   exportCmd   `cmd:"" help:"Write a run's best model as transformers publishes its kind."`
	Tokenize tokenizeCmd `cmd:"" help:"Turn lines of text into token ids, one JSON array a line."`
	Download downloadCmd `cmd:"" help:"Bring a pre-trained model here and print its path."`
	Models   modelsCmd   `cmd:"" help:"List the pre-trained models that are known by name."`
	Cache    cacheCmd    `cmd:"" help:"List or remove what runs have kept of frozen layers on disk."`
	Bench    benchCmd    `cmd:"" help:"Measure training steps of known models on random samples."`
	Doctor   doctorCmd   `cmd:"" help:"Tell what this program runs on, and whether it works."`
	Version  versionCmd  `cmd:"" help:"Print the versions."`

	VersionFlag kong.VersionFlag `name:"version" hidden:"" help:"As thaw version."`
}

// streams are what commands read and write, and whom they ask of the machine.
type streams struct {
	in       io.Reader
	out, err io.Writer
	noGPU    func() error // train.NoGPU; nil knows nothing
}

// The main goroutine keeps to the main thread, see thaw.Tune.
func init() { runtime.LockOSThread() }

func main() {
	thaw.Tune()
	signal.Ignore(syscall.SIGPIPE) // a training whose reader is gone goes on
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	code := run(ctx, os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr, train.NoGPU})
	stop()
	os.Exit(code)
}

// exit carries the code with which kong wants to leave, as after --help.
type exit int

// printed is the standard output where that is a file, and what went wrong there.
type printed struct {
	file    *os.File // not embedded: its other ways to write would go past Write
	failure error
}

func (p *printed) Fd() uintptr { return p.file.Fd() } // with which a terminal is told from a file

func (p *printed) Write(data []byte) (int, error) {
	n, err := p.file.Write(data)
	if p.failure == nil {
		p.failure = err
	}
	return n, err
}

// run is the program; it gives the exit code.
func run(ctx context.Context, args []string, s streams) (code int) {
	var out printed
	if f, ok := s.out.(*os.File); ok {
		out.file = f
		s.out = &out
		defer func() {
			if code == exitOK && errors.Is(out.failure, syscall.EPIPE) {
				code = exitPipe
			} else if code == exitOK && out.failure != nil {
				fmt.Fprintf(s.err, "thaw: %v\n", out.failure)
				code = exitFailed
			}
		}()
	}
	defer func() {
		switch p := recover().(type) {
		case nil:
		case exit:
			code = int(p)
		default:
			panic(p)
		}
	}()
	var c cli
	parser, err := kong.New(&c, kong.Name("thaw"), kong.Description("Fine-tune pre-trained networks, on libtorch."),
		kong.Writers(s.out, s.err), kong.Exit(func(code int) { panic(exit(code)) }), kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(s), kong.Vars{"version": versions()})
	if err != nil {
		panic(err)
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	parsed, err := parser.Parse(args)
	if out.failure != nil { // the help was not written, which the output's end tells
		return exitOK
	}
	if wrong, ok := errors.AsType[*kong.ParseError](err); ok {
		fmt.Fprintf(s.err, "thaw: %v\n", explain(wrong))
		return exitUsage
	} else if err != nil {
		fmt.Fprintf(s.err, "thaw: %v\n", err)
		return exitFailed
	}
	if verb := parsed.Command(); verb != "doctor" && verb != "version" { // which tell more of it
		err = torch.CheckVersion()
	}
	if err == nil {
		err = parsed.Run()
	}
	if err == nil {
		return exitOK
	}
	var spec *recipe.SpecError
	var specs recipe.SpecErrors
	var usage usageError
	var failed *launch.Failure
	switch {
	case errors.As(err, &spec), errors.As(err, &specs), errors.As(err, &usage):
		fmt.Fprintf(s.err, "%v\n", err)
		return exitUsage
	case errors.Is(err, syscall.EPIPE):
		return exitPipe
	case errors.As(err, &failed):
		if !failed.Usage || len(failed.Lines) > 0 { // otherwise rank 0 has said it
			fmt.Fprintf(s.err, "thaw: %v\n", err)
		}
		return failed.ExitCode()
	case errors.Is(err, launch.ErrStopped): // which the ranks have said
		return exitStopped
	case errors.Is(err, finetune.ErrTimeUp):
		fmt.Fprintf(s.err, "thaw: stopped: %v\n", err)
		return exitStopped
	case errors.Is(err, context.Canceled), errors.Is(err, train.ErrStopped): // by a signal to this process, or to another rank
		fmt.Fprintln(s.err, "thaw: stopped")
		return exitStopped
	default:
		fmt.Fprintf(s.err, "thaw: %v\n", err)
	}
	return exitFailed
}

// explain says what helps with a wrong command line.
func explain(err *kong.ParseError) string {
	verb, hint := "thaw", ""
	if node := err.Context.Selected(); node != nil {
		verb = node.FullPath()
	}
	if verb == "thaw train" && strings.HasPrefix(err.Error(), "unknown flag") {
		hint = "; keys of the spec are set without dashes, as in seed=2"
	}
	return fmt.Sprintf("%v%s (%s --help tells what there is)", err, hint, verb)
}

// usageError is a command line that cannot be followed.
type usageError struct{ msg string }

func (e usageError) Error() string { return "thaw: " + e.msg }
