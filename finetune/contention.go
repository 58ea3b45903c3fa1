package finetune

import (
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/internal/cgroup"
	"github.com/thaw-ml/thaw/internal/contention"
	"github.com/thaw-ml/thaw/internal/quantity"
	"github.com/thaw-ml/thaw/torch"
)

// ThreadsChosen comes when a run on the CPU changes how its threads compute, since they wait for CPUs that others need too, or
// no longer do (docs/decisions/025).
type ThreadsChosen struct {
	Threads  int     // that compute from now on
	Usual    int     // that compute where nobody else needs the CPUs
	Spinning bool    // threads that wait for one another spin, as they do where nobody else needs the CPUs
	Taken    float64 // CPUs that other programs take; 0 where that cannot be told
	CPUs     float64 // that the run may use
	Faster   float64 // how many times as fast the steps have become; 0 where nothing was compared
}

func (e ThreadsChosen) String() string {
	if e.Spinning && e.Threads == e.Usual {
		return fmt.Sprintf("threads: the CPUs are free again: %s as at first", quantity.Count(e.Threads, "thread", "threads"))
	}
	choice := fmt.Sprintf("the %d threads no longer spin while they wait", e.Threads)
	if e.Threads != e.Usual {
		choice = fmt.Sprintf("%s in place of %d", quantity.Count(e.Threads, "thread", "threads"), e.Usual)
	}
	return fmt.Sprintf("threads: %s; %s, which is %.1f times as fast here", sharing(e.Taken, e.CPUs), choice, e.Faster)
}

// sharing says who needs the CPUs.
func sharing(taken, cpus float64) string {
	if taken < 0.2 {
		return "more wants to compute at a time than there are CPUs"
	}
	return fmt.Sprintf("other programs take %.1f of %.3g CPUs", taken, cpus)
}

// watcher looks at the steps of a phase on the CPU and has its threads compute in the way that is fastest beside what else
// needs the CPUs. It implements train.Watcher.
type watcher struct {
	balance balance
	emit    func(Event) error
	window  window
	steps   int // of the window
	skip    int // steps that are not counted: they compile kernels, or the first reads its batch
	last    time.Time
	since   contention.Reading
	fixed   string // why the number of threads is kept; "" where it may change
	warned  bool
}

// newWatcher watches the steps of a run; nil where there is nothing to choose.
func (r *run[B]) newWatcher() *watcher {
	threads := torch.NumThreads()
	if !r.options.ShareCPUs || r.backend.Asynchronous() || threads < 2 || r.probe != nil {
		return nil
	}
	cpus, quota := float64(runtime.NumCPU()), cgroup.Read().CPUs
	if quota > 0 {
		cpus = min(cpus, quota)
	}
	fixed := r.threadsFixed()
	return &watcher{
		balance: newBalance(threads, fixed == "", cpus, quota), emit: r.emit, skip: 1, fixed: fixed,
	}
}

// threadsFixed says why a run keeps its number of threads, on which rounding depends; "" where it may change.
func (r *run[B]) threadsFixed() string {
	o := r.options
	switch {
	case o.Threads > 0 || os.Getenv("OMP_NUM_THREADS") != "" || os.Getenv("MKL_NUM_THREADS") != "":
		return "it was given"
	case o.Deterministic:
		return "the run is deterministic"
	case r.checkpoints != nil || o.Resume || r.verify:
		return "the run goes on from checkpoints to the last bit"
	case o.Group.Size() > 1:
		return "several processes compute the same"
	}
	return ""
}

// Begin is called where an epoch's steps begin.
func (w *watcher) Begin() {
	w.last = time.Now()
	w.restart()
}

// restart begins a window.
func (w *watcher) restart() {
	w.window, w.steps, w.since = window{}, 0, contention.Read()
}

// Stepped is called after each step.
func (w *watcher) Stepped(samples, width int) error {
	now := time.Now()
	took := now.Sub(w.last).Seconds()
	w.last = now
	if w.skip > 0 {
		w.skip--
		w.restart()
		return nil
	}
	w.steps++
	w.window.work += float64(samples * width)
	w.window.seconds += took
	if least := w.balance.least(); w.window.seconds < least || w.steps < 2 && w.window.seconds < 2*least {
		return nil
	}
	w.window.share = contention.Read().Since(w.since)
	before, share := w.balance.now, w.window.share
	chosen := w.balance.look(w.window, now)
	if w.balance.now != before {
		if err := w.balance.now.set(); err != nil {
			return err
		}
		if w.balance.now.threads != before.threads {
			w.skip = 1
		}
	}
	w.restart()
	return w.tell(chosen, share)
}

// tell says what was chosen.
func (w *watcher) tell(chosen *choice, share contention.Share) error {
	b := &w.balance
	switch {
	case chosen == nil:
		return nil
	case chosen.computing != chosen.before:
		return w.emit(ThreadsChosen{
			Threads: b.now.threads, Usual: b.usual.threads, Spinning: b.now.spinning, Taken: chosen.taken, CPUs: b.cpus, Faster: chosen.faster,
		})
	case b.now == b.usual && !b.mayChange && !w.warned:
		w.warned = true
		return w.emit(train.Warning{Kind: train.Contended, Text: fmt.Sprintf("%s; the run keeps its %d threads, as %s, where fewer might be faster",
			sharing(chosen.taken, b.cpus), b.usual.threads, w.fixed)})
	}
	return nil
}

// close lets threads compute as before.
func (w *watcher) close() {
	if w != nil && w.balance.now != w.balance.usual {
		w.balance.now = w.balance.usual
		_ = w.balance.now.set() // to spin needs no new thread
	}
}

// orNil is w as an interface, nil where w is.
func (w *watcher) orNil() train.Watcher {
	if w == nil {
		return nil
	}
	return w
}
