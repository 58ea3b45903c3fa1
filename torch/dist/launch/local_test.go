package launch_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch/dist/launch"
)

// failed is the failure that a run must have ended with.
func failed(t *testing.T, err error) *launch.Failure {
	t.Helper()
	failure, ok := errors.AsType[*launch.Failure](err)
	require.True(t, ok, "%v", err)
	return failure
}

func TestRanks(t *testing.T) {
	t.Setenv("OMP_NUM_THREADS", "")
	t.Setenv("RANK", "7") // that of a launcher above
	t.Setenv("TORCHELASTIC_ERROR_FILE", "/nonexistent/error.json")
	t.Setenv("CUDA_VISIBLE_DEVICES", "3,5")
	l := newLocal(t, 3, "env,say=done")
	require.NoError(t, l.run(t))
	assert.Equal(t, "done\n", l.out(t), "of the first rank only")
	ports := map[int]bool{}
	for rank := range 3 {
		env := l.env(t, rank)
		got, err := launch.Find(launch.Flags{}, env)
		require.NoError(t, err)
		ports[got.Port] = true
		assert.NotEmpty(t, got.RunID)
		got.RunID, got.Port = "", 0
		assert.Equal(t, launch.World{Rank: rank, Size: 3, LocalRank: rank, LocalSize: 3, Nodes: 1, Address: "127.0.0.1", By: "test"}, got)
		assert.Equal(t, env("OMP_NUM_THREADS"), "1")
		assert.Equal(t, env("CUDA_VISIBLE_DEVICES"), "3,5")
		assert.Empty(t, env("TORCHELASTIC_ERROR_FILE"))
	}
	assert.Len(t, ports, 1)
}

// The second of two nodes.
func TestRanksOfNode(t *testing.T) {
	t.Setenv("OMP_NUM_THREADS", "5")
	l := newLocal(t, 2, "env")
	l.World = launch.World{LocalSize: 2, Node: 1, Nodes: 2, Address: "host0", Port: 29500, By: "PET_ variables", Starter: true}
	l.LogDir = filepath.Join(l.folder, "logs")
	require.NoError(t, l.run(t))
	env := l.env(t, 3)
	got, err := launch.Find(launch.Flags{}, env)
	require.NoError(t, err)
	assert.Equal(t, launch.World{Rank: 3, Size: 4, LocalRank: 1, LocalSize: 2, Node: 1, Nodes: 2, Address: "host0", Port: 29500, By: "PET_ variables"}, got)
	assert.Equal(t, "5", env("OMP_NUM_THREADS"))
	assert.FileExists(t, filepath.Join(l.LogDir, "rank2.log"))
	assert.FileExists(t, filepath.Join(l.LogDir, "rank3.log"))
}

// A rank that fails takes the others with it: one that ends on SIGTERM, one that resists, and one that is stopped.
func TestRankFails(t *testing.T) {
	l := newLocal(t, 4, "0:ready,cry=zero,obey,exit=1", "1:await=0,await=2,await=3,say=first,cry=last words,exit=3", "2:ready,child,resist", "3:ready,freeze,obey,exit=1")
	began := time.Now()
	failure := failed(t, l.run(t))
	assert.Less(t, time.Since(began), 3*time.Second)
	assert.Equal(t, 1, failure.Rank)
	assert.Equal(t, 3, failure.ExitCode())
	assert.Equal(t, []string{"first", "last words"}, failure.Lines)
	assert.Regexp(t, `^rank 1 ended with exit code 3 after [0-9.]+m?s; its last lines:\n  first\n  last words$`, failure.Error())
	assert.Equal(t, "zero\ngot terminated\n", l.out(t))
	assert.Len(t, l.pids("ready*"), 3)
}

func TestFirstRankFails(t *testing.T) {
	l := newLocal(t, 2, "0:ready,cry=why,exit=1", "1:ready,obey,exit=75")
	failure := failed(t, l.run(t))
	assert.Regexp(t, `^rank 0 ended with exit code 1 after \S+$`, failure.Error(), "its words were seen already")
	assert.Equal(t, "why\n", l.out(t))
}

func TestRankIsKilled(t *testing.T) {
	l := newLocal(t, 2, "0:ready,obey,exit=75", "1:await=0,die")
	failure := failed(t, l.run(t))
	assert.Equal(t, 128+9, failure.ExitCode())
	assert.Regexp(t, `^rank 1 was ended by signal 9 \(killed\) after \S+; the kernel sends it where memory runs out$`, failure.Error())
}

// A wrong spec is said once, by the first rank, whichever ends first.
func TestWrongCommandLine(t *testing.T) {
	l := newLocal(t, 3, "0:sleep=100ms,cry=wrong,exit=2", "cry=wrong,exit=2")
	l.MaxRestarts = 3
	failure := failed(t, l.run(t))
	assert.Equal(t, "wrong\n", l.out(t), "and not again")
	assert.Equal(t, 2, failure.ExitCode())
	assert.True(t, failure.Usage)
	assert.Equal(t, 0, failure.Rank)
	assert.Empty(t, failure.Lines)
}

// Go ends with 2 when it panics.
func TestPanic(t *testing.T) {
	l := newLocal(t, 2, "0:ready,obey,exit=1", "1:await=0,cry=panic: wrong,cry=goroutine 1 [running]:,exit=2")
	l.MaxRestarts = 1
	failure := failed(t, l.run(t))
	assert.Equal(t, 1, failure.Rank)
	assert.Equal(t, []string{"panic: wrong", "goroutine 1 [running]:"}, failure.Lines)
	assert.Equal(t, 1, failure.Restarts)
	assert.False(t, failure.Usage)
}

func TestSignals(t *testing.T) {
	for name, sent := range map[string]syscall.Signal{"terminated": syscall.SIGTERM, "interrupt": syscall.SIGINT} {
		l := newLocal(t, 2, "ready,obey,sleep=200ms,exit=75")
		signals := make(chan os.Signal, 1)
		l.Signals, l.LogDir, l.MaxRestarts = signals, l.folder, 1
		go func() {
			l.await(t, 2)
			signals <- sent
		}()
		assert.ErrorIs(t, l.run(t), launch.ErrStopped)
		assert.Equal(t, "got "+name+"\n", l.out(t))
		assert.Contains(t, read(t, filepath.Join(l.folder, "rank1.log")), "\ngot "+name+"\n")
	}
}

func TestContextEnds(t *testing.T) {
	l := newLocal(t, 2, "ready,obey,exit=75")
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		l.await(t, 2)
		cancel()
	}()
	assert.ErrorIs(t, l.Run(ctx), launch.ErrStopped)
}

// A rank that fails while all are ending is a failure, and nothing is started again.
func TestFailsWhileStopping(t *testing.T) {
	l := newLocal(t, 3, "0:ready,obey,sleep=200ms,exit=75", "1:ready,obey,exit=4", "2:ready,obey,resist")
	signals := make(chan os.Signal, 1)
	l.Signals, l.MaxRestarts = signals, 2
	go func() {
		l.await(t, 3)
		signals <- syscall.SIGTERM
	}()
	assert.Equal(t, 4, failed(t, l.run(t)).ExitCode())
	assert.Equal(t, "got terminated\n", l.out(t), "once")
}

// Ranks agree on when to stop; one that does not end after another has is told, and then killed.
func TestStoppedOneByOne(t *testing.T) {
	l := newLocal(t, 3, "0:ready,sleep=300ms,exit=75", "1:ready,exit=75", "2:ready,exit=0")
	assert.ErrorIs(t, l.run(t), launch.ErrStopped)

	l = newLocal(t, 2, "0:ready,obey,exit=75", "1:await=0,exit=75")
	l.Grace = 50 * time.Millisecond
	assert.ErrorIs(t, l.run(t), launch.ErrStopped)

	l = newLocal(t, 2, "0:ready,resist", "1:exit=75")
	l.Grace = 100 * time.Millisecond
	failure := failed(t, l.run(t))
	assert.Regexp(t, `^rank 0 was killed, as it did not end after another rank was stopped, after \S+$`, failure.Error())
}

func TestRestarts(t *testing.T) {
	l := newLocal(t, 2, "0/0:cry=a,ready,obey,exit=1", "1/0:await=0,exit=3", "0/1:cry=b,exit=5", "1/1:obey,exit=75",
		"env,cry=c")
	l.MaxRestarts, l.LogDir = 3, filepath.Join(l.folder, "logs", "deep")
	require.NoError(t, l.run(t))
	assert.Regexp(t, `^a\ngot terminated\nthaw: launch: rank 1 ended with exit code 3 after \S+; its log is \S+rank1.log
thaw: launch: all ranks start again \(1 of at most 3\)
b\nthaw: launch: rank 0 ended with exit code 5 after \S+, start 2; its log is \S+rank0.log
thaw: launch: all ranks start again \(2 of at most 3\)
c\n$`, l.out(t))
	env := l.env(t, 1)
	w, err := launch.Find(launch.Flags{}, env)
	require.NoError(t, err)
	assert.Equal(t, 2, w.Restart)
	assert.True(t, strings.HasSuffix(w.RunID, ".2"), w.RunID)
	log := read(t, filepath.Join(l.LogDir, "rank0.log"))
	assert.Equal(t, 3, strings.Count(log, "---- rank 0 of 2, start "), log)
	assert.Regexp(t, `(?s)start 1.*\na\n.*start 2.*\nb\n.*start 3.*\nc\n$`, log)

	l = newLocal(t, 2, "1:await=0,exit=3", "ready,obey,exit=1")
	l.MaxRestarts = 1
	assert.Equal(t, 1, failed(t, l.run(t)).Restarts)
}

// The last lines of a rank that wrote much, which lie in memory or in its log.
func TestLastLines(t *testing.T) {
	script := "1:" + strings.Repeat("say="+strings.Repeat("x", 100)+",", 200) + "await=0,say=end,exit=1"
	for _, logs := range []string{"", "logs"} {
		l := newLocal(t, 2, script, "ready,obey,exit=1")
		if logs != "" {
			l.LogDir = filepath.Join(l.folder, logs)
		}
		failure := failed(t, l.run(t))
		require.Len(t, failure.Lines, 12)
		assert.Equal(t, "end", failure.Lines[11])
		assert.Equal(t, strings.Repeat("x", 100), failure.Lines[0])
	}
}

func TestLocalRefuses(t *testing.T) {
	for want, change := range map[string]func(*local){
		"there is no command":                        func(l *local) { l.Command = nil },
		"executable file not found":                  func(l *local) { l.Command = []string{"no-such-program"} },
		"0 processes: there is at least one":         func(l *local) { l.World.LocalSize = 0 },
		"the address and the port of the store":      func(l *local) { l.World.Nodes = 2 },
		"restarts are for one node, and there are 2": func(l *local) { l.World = node(2, 0); l.MaxRestarts = 1 },
		"node 2 of 2: nodes count from 0 to 1":       func(l *local) { l.World = node(2, 2) },
		"-1 restarts: 0 or more":                     func(l *local) { l.MaxRestarts = -1 },
		"not a directory":                            func(l *local) { l.LogDir = l.file.Name() },
		"rank 0: the log: open": func(l *local) {
			require.NoError(t, os.Mkdir(l.folder+"/rank0.log", 0o755))
			l.LogDir = l.folder
		},
		"rank 0: fork/exec": func(l *local) {
			l.Command = []string{l.folder + "/program"}
			require.NoError(t, os.WriteFile(l.Command[0], nil, 0o755))
		},
	} {
		l := newLocal(t, 2, "ready")
		change(l)
		err := l.run(t)
		assert.ErrorContains(t, err, "starting ")
		assert.ErrorContains(t, err, want)
	}
}

func node(nodes, node int) launch.World {
	return launch.World{LocalSize: 2, Nodes: nodes, Node: node, Address: "127.0.0.1", Port: 29500}
}

// A launcher that is killed leaves nobody: a rank that resists, one that waits, one that is stopped.
func TestLauncherIsKilled(t *testing.T) {
	l := newLocal(t, 2, "0:ready,resist", "1:ready,freeze,resist")
	c := exec.Command(l.Command[0], l.Command[1:]...)
	c.Env = append(os.Environ(), "LAUNCH_TEST=launcher")
	require.NoError(t, c.Start())
	l.await(t, 2)
	pids := l.pids("ready*")
	for _, pid := range pids {
		assert.True(t, alive(pid))
	}
	require.NoError(t, c.Process.Kill())
	_ = c.Wait()
	for _, pid := range pids {
		assert.Eventually(t, func() bool { return !alive(pid) }, time.Second, 5*time.Millisecond)
	}
}

// Ctrl-C reaches each rank once; Ctrl-Z stops them and the launcher.
func TestLauncherIsSignalled(t *testing.T) {
	l := newLocal(t, 2, "ready,obey,sleep=100ms,exit=75")
	c := exec.Command(l.Command[0], l.Command[1:]...)
	c.Env = append(os.Environ(), "LAUNCH_TEST=launcher")
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Stdout = l.file
	require.NoError(t, c.Start())
	l.await(t, 2)
	everybody := append(l.pids("ready*"), c.Process.Pid)
	in := func(state string) {
		t.Helper()
		for _, pid := range everybody {
			require.Eventually(t, func() bool { return processState(t, pid) == state }, 5*time.Second, 5*time.Millisecond, "%d is not %s", pid, state)
		}
	}
	in("S")
	require.NoError(t, syscall.Kill(-c.Process.Pid, syscall.SIGTSTP))
	in("T")
	require.NoError(t, syscall.Kill(-c.Process.Pid, syscall.SIGCONT))
	in("S")
	require.NoError(t, syscall.Kill(-c.Process.Pid, syscall.SIGINT)) // as a terminal does
	err, ok := errors.AsType[*exec.ExitError](c.Wait())
	require.True(t, ok)
	assert.Equal(t, 75, err.ExitCode())
	assert.Equal(t, "got interrupt\n", l.out(t))
}

// processState is the letter in /proc: S sleeps, T is stopped.
func processState(t *testing.T, pid int) string {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	require.NoError(t, err)
	_, after, _ := strings.Cut(string(stat), ") ")
	return after[:1]
}
