package finetune

import (
	"math"
	"time"

	"github.com/thaw-ml/thaw/internal/contention"
	"github.com/thaw-ml/thaw/torch"
)

// computing is a way for the threads of operators to compute.
type computing struct {
	threads  int
	spinning bool // while they wait for one another
}

// set has the process compute so.
func (c computing) set() error {
	if torch.NumThreads() != c.threads {
		torch.SetNumThreads(c.threads)
	}
	return torch.SetSpinning(c.spinning)
}

// window is a number of steps that ran one after the other in one way.
type window struct {
	work, seconds float64 // samples times their padded lengths
	share         contention.Share
}

// choice is the outcome of a trial.
type choice struct {
	computing
	before computing
	taken  float64 // CPUs, by others
	faster float64 // times as fast as before; 0 where nothing was compared
}

// What a trial rests on.
const (
	lookEvery = 2.0 // seconds of steps of a window
	tryFor    = 1.0 // seconds of steps of a window in a trial
	contended = 0.2 // threads that wait for a CPU: less is what any machine's services cause
	free      = 0.1
	gain      = 1.05 // times as fast, below which another way is not taken up: what steps differ by themselves
	gainFewer = 1.1  // with another number of threads, as that changes how sums round
	firstHold = 20 * time.Second
	longHold  = 10 * time.Minute
)

// balance chooses a way to compute by what windows of steps show. Where threads wait for CPUs, it tries the others for a few
// steps each, and keeps what is fastest.
type balance struct {
	usual, now computing
	mayChange  bool    // the number of threads
	cpus       float64 // that may be used
	quota      float64 // of the control group; 0 is none

	trying []computing // that are still to be tried, the first now; empty outside a trial
	from   computing   // what the trial began with
	rates  map[computing]float64
	taken  float64 // CPUs that others took when the trial began

	hold  time.Duration // between a trial that found nothing better, or a return that was of no use, and the next
	next  time.Time     // no trial, and no return to the usual, before
	last  time.Time     // of trials
	freed time.Time     // when it last returned to the usual
}

func newBalance(threads int, mayChange bool, cpus, quota float64) balance {
	usual := computing{threads, true}
	return balance{usual: usual, now: usual, mayChange: mayChange, cpus: cpus, quota: quota, hold: firstHold}
}

// least is the seconds of steps that the next window is to have.
func (b *balance) least() float64 {
	if len(b.trying) > 0 {
		return tryFor
	}
	return lookEvery
}

// look takes a window into account and sets now. It gives a choice where a trial came to its end, or the CPUs are free again.
func (b *balance) look(w window, at time.Time) *choice {
	if len(b.trying) > 0 {
		return b.tried(w, at)
	}
	switch {
	case b.now == b.usual && !b.crowded(w.share):
		return nil
	case b.now == b.usual && !b.freed.IsZero() && at.Sub(b.freed) < time.Minute: // the return was of no use
		b.freed = time.Time{}
		b.lengthen(at)
		b.try(w)
	case at.Before(b.next) && !(b.idle(w.share) && at.Sub(b.last) > time.Minute):
		return nil
	case b.now.threads == b.usual.threads && b.now != b.usual && w.share.Waiting < free && !b.atQuota(w.share):
		c := &choice{computing: b.usual, before: b.now, taken: w.share.Taken}
		b.now, b.freed = b.usual, at
		return c
	default:
		b.try(w)
	}
	if len(b.trying) == 0 { // there is nothing else to try
		b.next = at.Add(firstHold)
	}
	return nil
}

// crowded reports whether threads wait for CPUs.
func (b *balance) crowded(s contention.Share) bool { return s.Waiting >= contended || b.atQuota(s) }

// atQuota reports whether the control group's quota, which threads that spin use up too, is used up.
func (b *balance) atQuota(s contention.Share) bool {
	return b.quota > 0 && b.quota < float64(b.usual.threads) && s.Own > 0.9*b.quota
}

// idle reports whether fewer threads than usual compute, and leave a CPU idle.
func (b *balance) idle(s contention.Share) bool {
	return b.now.threads < b.usual.threads && s.Known && b.cpus-s.Own-s.Taken > 0.5
}

// try begins a trial of all ways but the one that a window has just shown. The usual one is left out where another was found
// to be better: it is returned to when the CPUs are free.
func (b *balance) try(w window) {
	b.from, b.taken = b.now, w.share.Taken
	b.rates = map[computing]float64{b.now: w.work / w.seconds}
	all := []computing{{b.usual.threads, false}}
	if b.mayChange {
		taken := max(1, int(math.Round(w.share.Taken)))
		all = append(all, computing{max(1, b.usual.threads-taken), false})
	}
	for _, c := range all {
		if c != b.now {
			b.trying = append(b.trying, c)
		}
	}
	if len(b.trying) > 0 {
		b.now = b.trying[0]
	}
}

// tried takes the window of a trial into account.
func (b *balance) tried(w window, at time.Time) *choice {
	b.rates[b.now] = w.work / w.seconds
	if b.trying = b.trying[1:]; len(b.trying) > 0 {
		b.now = b.trying[0]
		return nil
	}
	best, threshold := b.from, 0.0
	for c, rate := range b.rates {
		if c == b.from {
			continue
		}
		needed := gain
		if c.threads < b.from.threads {
			needed = gainFewer
		}
		if better := rate / (needed * b.rates[b.from]); better > max(1, threshold) {
			best, threshold = c, better
		}
	}
	b.last = at
	c := &choice{computing: best, before: b.from, taken: b.taken, faster: b.rates[best] / b.rates[b.from]}
	b.now = best
	if best == b.from {
		b.lengthen(at)
	} else {
		b.next = at.Add(b.hold)
	}
	return c
}

// lengthen puts the next trial off, each time for longer.
func (b *balance) lengthen(at time.Time) {
	b.next = at.Add(b.hold)
	b.hold = min(2*b.hold, longHold)
}
