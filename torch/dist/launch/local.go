package launch

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Exit codes of a rank that say more than that it failed.
const (
	exitUsage   = 2  // a wrong command line or spec, which a second start would not mend
	exitStopped = 75 // stopped by a signal, in order: sysexits.h's EX_TEMPFAIL, docs/decisions/016
)

// ErrStopped says that no rank failed, and that one or more were stopped by a signal in order: by exit code 75.
var ErrStopped = errors.New("stopped")

// Local is a set of ranks on this node, all of one command, which Run starts and looks after.
//
// Each rank gets the variables that torchrun sets (RANK, LOCAL_RANK, WORLD_SIZE, LOCAL_WORLD_SIZE, GROUP_RANK,
// GROUP_WORLD_SIZE, MASTER_ADDR, MASTER_PORT, TORCHELASTIC_RESTART_COUNT and the like), so that any program that runs
// under torchrun runs here. With more than one rank, OMP_NUM_THREADS is an equal share of the CPUs, unless the
// environment sets it or MKL_NUM_THREADS. CUDA_VISIBLE_DEVICES stays as it is: a rank takes the GPU of its LOCAL_RANK.
//
// Each rank is a process group of its own, so that Ctrl-C reaches it once, by way of Signals, and has no standard
// input. The kernel kills all ranks where this process is killed.
type Local struct {
	// World is the node's: Node, Nodes, LocalSize; Address and Port of the store, which with one node may be left out
	// for a free port of 127.0.0.1; and By, which its ranks will say, too. Rank and Size follow from them.
	World World

	Command []string // the program, as exec.Command takes it, and its arguments
	Env     []string // nil is that of this process

	// MaxRestarts is how often all ranks are started again after one of them failed. A wrong command line (exit code
	// 2), a stop (75) and whatever fails after a signal was passed on end the run at once. It must be 0 with more than
	// one node: the others would not know of a restart.
	MaxRestarts int

	// LogDir gets a file rank<R>.log for each rank, with what it writes to its standard output and error; a file that
	// is there is appended to. Of the first rank, a standard output that is a terminal is not in it. "" keeps no logs.
	LogDir string

	// Grace is how long ranks have to end after a SIGTERM, which they get when another one has failed and a tenth of Grace has
	// gone by, in which they may notice by themselves; then it is SIGKILL. 0 is 10 seconds.
	Grace time.Duration

	// Signals are passed on to all ranks; SIGTSTP, Ctrl-Z, stops them and then this process. nil has none.
	Signals <-chan os.Signal

	// Stdout and Stderr, of this process where nil, are what the first rank of the node writes to. Stderr is told of
	// restarts, too.
	Stdout, Stderr *os.File
}

// Run starts the ranks and returns when all have ended. The error is nil where each ended with 0, [ErrStopped] where
// each ended with 0 or 75, and otherwise a [*Failure] of the first that failed. When ctx ends, ranks get a SIGTERM.
func (l Local) Run(ctx context.Context) error {
	if err := l.prepare(); err != nil {
		return l.wrap(err)
	}
	// The kernel sends a child's PR_SET_PDEATHSIG when the thread that started the child ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	id := rand.Text()[:8]
	for restart := 0; ; restart++ {
		s := supervisor{Local: l, restart: restart}
		s.id = id
		err := s.run(ctx)
		failure, failed := errors.AsType[*Failure](err)
		if failed {
			failure.Restarts = restart
		}
		if !failed || restart == l.MaxRestarts || s.told || failure.Usage {
			return err
		}
		fmt.Fprintf(l.Stderr, "thaw: launch: %v\nthaw: launch: all ranks start again (%d of at most %d)\n",
			failure, restart+1, l.MaxRestarts)
	}
}

func (l *Local) wrap(err error) error {
	return fmt.Errorf("starting %d ranks: %w", l.World.LocalSize, err)
}

// prepare checks the settings and fills in what was left out.
func (l *Local) prepare() error {
	w := &l.World
	switch {
	case len(l.Command) == 0:
		return errors.New("there is no command")
	case w.LocalSize < 1:
		return fmt.Errorf("%d processes: there is at least one", w.LocalSize)
	case w.Nodes > 1 && (w.Address == "" || w.Port == 0):
		return fmt.Errorf("with %d nodes, the address and the port of the store on node 0 are needed", w.Nodes)
	case w.Nodes > 1 && l.MaxRestarts > 0:
		return fmt.Errorf("restarts are for one node, and there are %d: the other nodes would not know; have all nodes "+
			"started again, as a Job or torchrun --max-restarts does", w.Nodes)
	case l.MaxRestarts < 0:
		return fmt.Errorf("%d restarts: 0 or more", l.MaxRestarts)
	}
	w.Nodes = max(1, w.Nodes)
	if w.Node < 0 || w.Node >= w.Nodes {
		return fmt.Errorf("node %d of %d: nodes count from 0 to %d", w.Node, w.Nodes, w.Nodes-1)
	}
	w.Rank, w.Size = w.Node*w.LocalSize, w.Nodes*w.LocalSize
	if l.Env == nil {
		l.Env = os.Environ()
	}
	if l.Stdout == nil {
		l.Stdout = os.Stdout
	}
	if l.Stderr == nil {
		l.Stderr = os.Stderr
	}
	if l.Grace == 0 {
		l.Grace = 10 * time.Second
	}
	path, err := exec.LookPath(l.Command[0])
	if err != nil {
		return err
	}
	l.Command = append([]string{path}, l.Command[1:]...)
	if l.LogDir != "" {
		return os.MkdirAll(l.LogDir, 0o755)
	}
	return nil
}

// ofLauncher are the variables that a launcher above this one may have set.
var ofLauncher = []string{
	"RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "GROUP_WORLD_SIZE", "ROLE_RANK", "ROLE_WORLD_SIZE",
	"ROLE_NAME", "MASTER_ADDR", "MASTER_PORT", byVariable,
}

// environment is that of a rank, by the variables of torchrun.
func (s *supervisor) environment(local int) []string {
	env := slices.DeleteFunc(slices.Clone(s.Env), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return slices.Contains(ofLauncher, name) || strings.HasPrefix(name, "TORCHELASTIC_")
	})
	set := func(name string, value any) { env = append(env, fmt.Sprintf("%s=%v", name, value)) }
	w := s.World
	w.Rank, w.LocalRank = w.Rank+local, local
	env = append(env, w.Environ()...)
	set("GROUP_RANK", w.Node)
	set("GROUP_WORLD_SIZE", w.Nodes)
	set("TORCHELASTIC_RESTART_COUNT", s.restart)
	set("TORCHELASTIC_MAX_RESTARTS", s.MaxRestarts)
	set("TORCHELASTIC_USE_AGENT_STORE", "False")
	if w.Nodes == 1 {
		set("TORCHELASTIC_RUN_ID", s.id)
	} else {
		set("TORCHELASTIC_RUN_ID", "none") // the nodes have none in common
	}
	if w.By != "" {
		set(byVariable, w.By)
	}
	given := func(name string) bool {
		return slices.ContainsFunc(env, func(entry string) bool {
			return strings.HasPrefix(entry, name+"=") && entry != name+"="
		})
	}
	if w.LocalSize > 1 && !given("OMP_NUM_THREADS") && !given("MKL_NUM_THREADS") {
		set("OMP_NUM_THREADS", max(1, CPUs()/w.LocalSize))
	}
	return env
}

// FreePort is a port of this machine that nobody listens on.
func FreePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("no port for the store: %w", err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}

// Failure is the rank that failed first.
type Failure struct {
	Rank     int
	Code     int            // its exit code; -1 where a signal ended it
	Signal   syscall.Signal // that ended it; 0 where none did
	After    time.Duration  // since it was started
	Lines    []string       // the last that it wrote; none of the first rank, which wrote where this process does
	Log      string         // its log file, or ""
	Restarts int            // so many there were before
	Usage    bool           // exit code 2, and no trace of a panic: a wrong command line
	Overdue  bool           // it was killed, as it did not end after another rank was stopped
}

// Error says which rank failed, and how, in a line, and then what it wrote last.
func (f *Failure) Error() string {
	how := "ended with exit code " + strconv.Itoa(f.Code)
	if f.Overdue {
		how = "was killed, as it did not end after another rank was stopped,"
	} else if f.Signal != 0 {
		how = fmt.Sprintf("was ended by signal %d (%v)", int(f.Signal), f.Signal)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "rank %d %s after %v", f.Rank, how, f.After.Round(100*time.Millisecond))
	if f.Restarts > 0 {
		fmt.Fprintf(&b, ", start %d", f.Restarts+1)
	}
	if f.Signal == syscall.SIGKILL && !f.Overdue {
		b.WriteString("; the kernel sends it where memory runs out")
	}
	if f.Log != "" {
		fmt.Fprintf(&b, "; its log is %s", f.Log)
	}
	if len(f.Lines) > 0 {
		b.WriteString("; its last lines:")
	}
	for _, line := range f.Lines {
		b.WriteString("\n  " + line)
	}
	return b.String()
}

// ExitCode is the code with which a launcher says the same: the rank's, or 128 and the signal, as shells do.
func (f *Failure) ExitCode() int {
	if f.Signal != 0 {
		return 128 + int(f.Signal)
	}
	return f.Code
}
