package launch

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// supervisor is one start of all ranks.
type supervisor struct {
	Local
	id      string // of the run
	restart int

	ranks    []*rank
	ended    chan *rank
	told     bool // ranks got a signal that asks them to end, other than for another's failure
	killed   bool // ranks got SIGKILL
	failure  *Failure
	stopped  bool // one ended with 75
	deadline <-chan time.Time
	late     func() // what to do at the deadline
}

// rank is a process that was started.
type rank struct {
	number  int // among all
	command *exec.Cmd
	output  *output
	started time.Time
	over    bool
}

func (s *supervisor) run(ctx context.Context) error {
	if s.World.Address == "" || s.World.Port == 0 {
		port, err := FreePort()
		if err != nil {
			return s.wrap(err)
		}
		s.World.Address, s.World.Port = "127.0.0.1", port
	}
	s.ended = make(chan *rank)
	var err error
	for local := range s.World.LocalSize {
		if err = s.start(local); err != nil {
			s.signal(syscall.SIGKILL)
			break
		}
	}
	done := ctx.Done()
	for left := len(s.ranks); left > 0; {
		select {
		case r := <-s.ended:
			left--
			r.over = true
			if err == nil {
				s.note(r)
			}
		case sig := <-s.Signals:
			s.pass(sig)
		case <-done:
			done = nil
			s.told = true
			s.signal(syscall.SIGTERM)
		case <-s.deadline:
			s.deadline = nil
			s.late()
		}
	}
	switch {
	case err != nil:
		return s.wrap(err)
	case s.failure != nil:
		return s.failure
	case s.stopped:
		return ErrStopped
	}
	return nil
}

// start starts a rank, and has it waited for.
func (s *supervisor) start(local int) error {
	r := &rank{number: s.World.Rank + local, started: time.Now()}
	var err error
	if r.output, err = s.open(r.number, local); err != nil {
		return fmt.Errorf("rank %d: the log: %w", r.number, err)
	}
	c := exec.Command(s.Command[0], s.Command[1:]...)
	c.Env = s.environment(local)
	c.Stdout, c.Stderr = r.output.out, r.output.err
	// The signal is SIGKILL, since a rank that hangs would outlive any other.
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	c.WaitDelay = time.Second // for processes that a rank left behind, and that hold its output open
	if err := c.Start(); err != nil {
		r.output.close()
		return fmt.Errorf("rank %d: %w", r.number, err)
	}
	r.command = c
	s.ranks = append(s.ranks, r)
	go func() {
		_ = c.Wait() // the state says how it ended
		_ = unix.Kill(-c.Process.Pid, syscall.SIGKILL)
		s.ended <- r
	}()
	return nil
}

// goTrace is what Go prints when a program panics, whose exit code is 2.
var goTrace = regexp.MustCompile(`(?m)^goroutine \d+ .*\[`)

// note takes a rank's end into account, and has the others end where it failed.
func (s *supervisor) note(r *rank) {
	words := r.output.close()
	status := r.command.ProcessState.Sys().(syscall.WaitStatus)
	code := status.ExitStatus() // -1 where a signal ended it
	usage := code == exitUsage && !goTrace.Match(words)
	if s.failure != nil && s.failure.Usage && usage && r.output.first {
		s.failure = nil // all ranks say the same, and what the first says has been seen
	}
	switch {
	case s.failure != nil || code == 0:
		return
	case code == exitStopped:
		// Ranks agree on when to stop, so the others are about to end, too; rank 0 may be writing a checkpoint yet.
		s.stopped = true
		if s.deadline == nil {
			s.endBy(6*s.Grace, s.finish)
		}
		return
	}
	s.failure = &Failure{
		Rank: r.number, Code: code, After: time.Since(r.started), Lines: r.output.unseen(words), Log: r.output.path, Usage: usage,
	}
	if status.Signaled() {
		s.failure.Signal = status.Signal()
		s.failure.Overdue = s.stopped && s.killed
	}
	// The others have a moment to notice, and to say what they saw: of a wrong command line each says the same.
	s.endBy(s.Grace/10, s.finish)
}

// finish asks the ranks that are left to end, and sees to it that they do.
func (s *supervisor) finish() {
	if !s.told { // a second SIGTERM would have a rank end at once that is ending in order
		s.signal(syscall.SIGTERM)
		s.signal(syscall.SIGCONT) // which one that is stopped does not see
	}
	s.endBy(s.Grace, func() {
		s.killed = true
		s.signal(syscall.SIGKILL)
	})
}

// endBy sets what is done with the ranks that have not ended by then.
func (s *supervisor) endBy(within time.Duration, late func()) {
	s.deadline, s.late = time.After(within), late
}

// pass passes a signal on that this process got.
func (s *supervisor) pass(sig os.Signal) {
	number, ok := sig.(syscall.Signal)
	switch {
	case !ok:
	case number == syscall.SIGTSTP:
		s.signal(syscall.SIGSTOP)
		// To this thread, which therefore does nothing more until fg or bg.
		_ = unix.Tgkill(os.Getpid(), unix.Gettid(), syscall.SIGSTOP)
		s.signal(syscall.SIGCONT)
	default:
		s.told = s.told || number == syscall.SIGTERM || number == syscall.SIGINT
		s.signal(number)
	}
}

// signal sends a signal to all ranks that run, and to what they started.
func (s *supervisor) signal(number syscall.Signal) {
	for _, r := range s.ranks {
		if !r.over {
			_ = unix.Kill(-r.command.Process.Pid, number) // fails where it has just ended
		}
	}
}
