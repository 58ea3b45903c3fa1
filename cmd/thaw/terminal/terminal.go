// Package terminal shows a run on a terminal, or, where the output is a file or a pipe, as plain lines.
package terminal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/vbauerster/cupwriter"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"github.com/thaw-ml/thaw"
	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/internal/quantity"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/cuda"
)

// Settings are what a view shows of a run beside what happens in it.
type Settings struct {
	Folder            string // of the run
	Device, Precision string // as chosen, "cpu" or "cuda:0"; "" is the CPU in float32
	Threads           int    // of the CPU; 0 is libtorch's number
	Phases            int
}

// View writes what happens in a run for people.
type View struct {
	out     io.Writer
	run     Settings
	live    bool // a terminal: bars are drawn
	fd      int  // of the terminal
	bars    *mpb.Progress
	bar     *mpb.Bar
	task    string
	total   int
	samples int
	loss    atomic.Uint64 // bits; the bar reads it from its own goroutine
	before  atomic.Int64  // samples that were done when the task began, in a run that goes on
	resumed atomic.Int64  // before, of the epoch that begins next
	began   time.Time
	notes   []string // to print below the bar, when that is done
	planned bool     // the run has begun, and with it the folder
}

// New makes a view of a run that writes to out.
func New(out io.Writer, run Settings) *View {
	v := &View{out: out, run: run}
	if f, ok := out.(interface{ Fd() uintptr }); ok {
		v.fd = int(f.Fd())
		v.live = term.IsTerminal(v.fd)
	}
	return v
}

// Greet prints what runs.
func (v *View) Greet() {
	threads := v.run.Threads
	if threads == 0 {
		threads = torch.NumThreads()
	}
	on, precision := fmt.Sprintf("cpu (%s)", quantity.Count(threads, "thread", "threads")), v.run.Precision
	if precision == "float32" || precision == "auto" { // of a CPU nobody expects another; what a run tries it tells
		precision = ""
	}
	if d, err := torch.ParseDevice(v.run.Device); err == nil && d.Type == torch.CUDAType {
		on, precision = d.String(), v.run.Precision
		if devices, err := cuda.Devices(); err == nil && d.Index < len(devices) {
			on += fmt.Sprintf(" (%s, %.0f GB)", devices[d.Index].Name, float64(devices[d.Index].TotalMemory)/1e9)
		}
	}
	if precision != "" {
		on += " · " + precision
	}
	fmt.Fprintf(v.out, "thaw %s · libtorch %s · %s\n\n", thaw.Version, torch.Version(), on)
}

// Note prints a line about a subject.
func (v *View) Note(subject, text string) {
	if v.bar != nil {
		v.notes = append(v.notes, fmt.Sprintf("%-9s %s", subject, text))
		return
	}
	fmt.Fprintf(v.out, "%-9s %s\n", subject, text)
}

// printPlan prints the plan of a phase, which is counted from 1.
func (v *View) printPlan(phase int, plan fmt.Stringer) {
	v.planned = true
	subject := "plan"
	if v.run.Phases > 1 {
		subject = fmt.Sprintf("phase %d", phase)
	}
	for _, line := range strings.Split(plan.String(), "\n") {
		fmt.Fprintf(v.out, "%-9s %s\n", subject, line)
		subject = ""
	}
	fmt.Fprintln(v.out)
}

// begin starts a bar for a task: "prefix", "before", "epoch 1".
func (v *View) begin(task string, samples int) {
	v.task, v.total, v.samples, v.began = task, samples, 0, time.Now()
	v.loss.Store(0)
	v.before.Store(0)
	if !v.live {
		return
	}
	console := cupwriter.New(v.out, false)
	console.SetTermFd(v.fd) // out may be no *os.File, by which alone it would know the terminal
	v.bars = mpb.New(mpb.WithConsoleWriter(console), mpb.WithWidth(24), mpb.WithRefreshRate(200*time.Millisecond))
	v.bar = v.bars.New(int64(samples), mpb.BarStyle().Lbound("").Filler("█").Tip("█").Padding("░").Rbound(""),
		mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(decor.Name(fmt.Sprintf("%-9s ", task))),
		mpb.AppendDecorators(decor.Any(func(s decor.Statistics) string { return v.status(int(s.Current)) })))
}

// status is what stands behind a bar.
func (v *View) status(samples int) string {
	spent := time.Since(v.began).Seconds()
	rate := float64(samples-int(v.before.Load())) / max(spent, 1e-3)
	s := fmt.Sprintf(" %s/%s", quantity.Digits(samples), quantity.Digits(v.total))
	if loss := math.Float64frombits(v.loss.Load()); loss > 0 {
		s += fmt.Sprintf("  loss %.3f", loss)
	}
	s += fmt.Sprintf("  %.0f/s", rate)
	if left := float64(v.total-samples) / max(rate, 1e-3); samples > 0 && samples < v.total {
		s += "  eta " + duration(left)
	}
	return s + fmt.Sprintf("  %.1f GB", float64(v.taken())/1e9)
}

// taken is the memory that the run takes now, in bytes: of the GPU, or in tensors of the CPU.
func (v *View) taken() int64 {
	if d, err := torch.ParseDevice(v.run.Device); err == nil && d.Type == torch.CUDAType {
		if m, err := cuda.Memory(d.Index); err == nil {
			return m.Reserved
		}
	}
	return torch.Stats().Bytes
}

// advance moves the bar. loss is the mean of the epoch so far; 0 outside training.
func (v *View) advance(samples int, loss float64) {
	v.samples = samples
	v.loss.Store(math.Float64bits(loss))
	if v.bar != nil {
		v.bar.SetCurrent(int64(samples))
	}
}

// end replaces the bar with a line that stays. score is what an evaluation gave, as in "accuracy 0.9120  f1 0.9118"; "" is
// none.
func (v *View) end(score string) {
	spent := time.Since(v.began).Seconds()
	v.closeBar()
	line := fmt.Sprintf("%-9s %6s rows", v.task, quantity.Digits(v.samples))
	if loss := math.Float64frombits(v.loss.Load()); loss > 0 {
		line += fmt.Sprintf("  loss %.3f", loss)
	}
	line += fmt.Sprintf("  %.0f/s  %s", float64(v.samples-int(v.before.Load()))/max(spent, 1e-3), duration(spent))
	if score != "" {
		line += "  " + score
	}
	fmt.Fprintln(v.out, line)
	v.printNotes()
}

func (v *View) closeBar() {
	if v.bar == nil {
		return
	}
	v.bar.Abort(true)
	v.bars.Wait()
	v.bar = nil
}

// Close removes a bar that a failed run left, and prints what was noted below it.
func (v *View) Close() {
	v.closeBar()
	v.printNotes()
}

func (v *View) printNotes() {
	for _, note := range v.notes {
		fmt.Fprintln(v.out, note)
	}
	v.notes = nil
}

// Finish prints what the run came to.
func (v *View) Finish(r *finetune.Result) {
	if r.Best.Rows > 0 {
		before := ""
		if len(r.Before.Values) > 0 {
			before = fmt.Sprintf(" (before: %.4f)", r.Before.Values[0].Value)
		}
		v.Note("best", fmt.Sprintf("%v  at epoch %d%s", r.Best, r.BestEpoch, before))
	}
	memory := fmt.Sprintf("peak memory %.2f GB", float64(r.PeakBytes)/1e9)
	if r.PeakDeviceBytes > 0 {
		memory += fmt.Sprintf(", on the GPU %.2f GB", float64(r.PeakDeviceBytes)/1e9)
	}
	v.Note("time", fmt.Sprintf("frozen stages %s · training %s · evaluation %s · %s",
		duration(r.Seconds.Prefix), duration(r.Seconds.Train), duration(r.Seconds.Evaluate), memory))
	v.Note("run", r.Folder)
	if page := filepath.Join(r.Folder, finetune.ReportFile); isFile(page) {
		v.Note("report", page)
	}
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// Abandon prints what a run that did not come to its end has left, where it has left anything: its folder, with the
// best weights so far, and how a run that was stopped goes on. The program prints the error.
func (v *View) Abandon(err error) {
	folder, epochs, saved := left(v.run.Folder)
	if !v.planned || folder == "" { // a folder that is there is another run's
		return
	}
	text := fmt.Sprintf("%s, up to epoch %d", folder, epochs)
	if saved && (errors.Is(err, context.Canceled) || errors.Is(err, finetune.ErrTimeUp)) {
		text += "; thaw resume " + folder + " goes on"
	}
	v.Note("run", text)
}

// left gives the absolute path of a run folder, the number of epochs in it, and whether there is a checkpoint; no path
// where nothing was trained.
func left(folder string) (path string, epochs int, saved bool) {
	newest, err := finetune.NewFolder(folder).NewestCheckpoint()
	saved = err == nil && newest != ""
	table, err := os.ReadFile(filepath.Join(folder, finetune.MetricsFile))
	if err == nil {
		epochs = bytes.Count(table, []byte("\n")) - 1
	} else if !saved {
		return "", 0, false
	}
	if path, err = filepath.Abs(folder); err != nil {
		path = folder
	}
	return path, epochs, saved
}

// duration writes seconds as people do: 41s, 2m40s.
func duration(seconds float64) string {
	if seconds < 10 {
		return fmt.Sprintf("%.1fs", seconds)
	}
	return (time.Duration(seconds+0.5) * time.Second).String()
}
