package launch_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch/dist/launch"
)

// The test program is also the ranks, and a launcher that can be killed.
func TestMain(m *testing.M) {
	switch os.Getenv("LAUNCH_TEST") {
	case "rank":
		actAsRank(os.Args[1], os.Args[2:])
	case "launcher":
		os.Exit(actAsLauncher(os.Args[1], os.Args[2:]))
	}
	os.Exit(m.Run())
}

// actAsRank follows a script: of "1:sleep=1s,exit=3", "0:..." what is for this rank, and what has no number for the
// others. With "0/1:" it is for rank 0 in the start after the first restart. In folder go a file ready<R> and all that
// env writes.
func actAsRank(folder string, scripts []string) {
	rank := os.Getenv("RANK")
	script := ""
	for _, s := range scripts {
		who, what, named := strings.Cut(s, ":")
		if !named {
			script = s
		} else if who == rank || who == rank+"/"+os.Getenv("TORCHELASTIC_RESTART_COUNT") {
			script = what
			break
		}
	}
	signals := make(chan os.Signal, 10)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGUSR1)
	for action := range strings.SplitSeq(script, ",") {
		verb, value, _ := strings.Cut(action, "=")
		switch verb {
		case "":
		case "say":
			fmt.Println(value)
		case "cry":
			fmt.Fprintln(os.Stderr, value)
		case "sleep":
			d, err := time.ParseDuration(value)
			must(err)
			time.Sleep(d)
		case "await": // a rank that is ready
			for range 2000 {
				if _, err := os.Stat(filepath.Join(folder, "ready"+value)); err == nil {
					break
				}
				time.Sleep(5 * time.Millisecond)
			}
		case "report":
			must(launch.WriteErrorFile(os.Getenv, errors.New(value)))
		case "exit":
			code, err := strconv.Atoi(value)
			must(err)
			os.Exit(code)
		case "die":
			must(syscall.Kill(os.Getpid(), syscall.SIGKILL))
		case "freeze":
			must(syscall.Kill(os.Getpid(), syscall.SIGSTOP))
		case "env":
			must(os.WriteFile(filepath.Join(folder, "env"+rank), []byte(strings.Join(os.Environ(), "\n")), 0o644))
		case "child":
			c := exec.Command("sleep", "60")
			must(c.Start())
			must(os.WriteFile(filepath.Join(folder, "child"+rank), []byte(strconv.Itoa(c.Process.Pid)), 0o644))
		case "ready":
			must(os.WriteFile(filepath.Join(folder, "ready.tmp"+rank), []byte(strconv.Itoa(os.Getpid())), 0o644))
			must(os.Rename(filepath.Join(folder, "ready.tmp"+rank), filepath.Join(folder, "ready"+rank)))
		case "obey": // the next signal
			select {
			case s := <-signals:
				fmt.Println("got", s)
			case <-time.After(20 * time.Second):
				fmt.Println("nobody called")
				os.Exit(9)
			}
		case "resist": // what can be resisted
			time.Sleep(20 * time.Second)
			os.Exit(9)
		default:
			fmt.Println("no such action:", action)
			os.Exit(8)
		}
	}
	select {
	case s := <-signals:
		fmt.Println("too many signals:", s)
		os.Exit(7)
	default:
	}
	os.Exit(0)
}

func must(err error) {
	if err != nil {
		fmt.Println("helper:", err)
		os.Exit(8)
	}
}

// actAsLauncher starts two ranks as the program thaw does.
func actAsLauncher(folder string, scripts []string) int {
	signals := make(chan os.Signal, 10)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGTSTP)
	err := launch.Local{
		World: launch.World{LocalSize: 2, By: "test"}, Command: append([]string{os.Args[0], folder}, scripts...),
		Env: append(os.Environ(), "LAUNCH_TEST=rank"), Signals: signals, Grace: 2 * time.Second,
	}.Run(context.Background())
	if failure, ok := errors.AsType[*launch.Failure](err); ok {
		fmt.Fprintln(os.Stderr, failure)
		return failure.ExitCode()
	} else if errors.Is(err, launch.ErrStopped) {
		return 75
	}
	must(err)
	return 0
}

// local is so many ranks that follow scripts; out is what the first one wrote, once it ran.
type local struct {
	launch.Local
	folder string
	file   *os.File
}

func newLocal(t *testing.T, ranks int, scripts ...string) *local {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	folder := t.TempDir()
	file, err := os.Create(filepath.Join(folder, "out"))
	require.NoError(t, err)
	t.Cleanup(func() { file.Close() })
	return &local{
		Local: launch.Local{
			World: launch.World{LocalSize: ranks, By: "test"}, Command: append([]string{self, folder}, scripts...),
			Env: append(os.Environ(), "LAUNCH_TEST=rank"), Grace: time.Second, Stdout: file, Stderr: file,
		},
		folder: folder, file: file,
	}
}

// run runs the ranks, and sees that none is left.
func (l *local) run(t *testing.T) error {
	t.Helper()
	err := l.Local.Run(t.Context())
	for _, pid := range l.pids("ready*", "child*") {
		require.Eventually(t, func() bool { return !alive(pid) }, time.Second, 5*time.Millisecond, "process %d is left", pid)
	}
	return err
}

func (l *local) out(t *testing.T) string { return read(t, l.file.Name()) }

// env is the environment that a rank wrote down.
func (l *local) env(t *testing.T, rank int) func(string) string {
	t.Helper()
	set := map[string]string{}
	for line := range strings.SplitSeq(read(t, filepath.Join(l.folder, "env"+strconv.Itoa(rank))), "\n") {
		name, value, _ := strings.Cut(line, "=")
		set[name] = value
	}
	return func(name string) string { return set[name] }
}

// await waits for the ranks that make themselves known.
func (l *local) await(t *testing.T, ranks int) {
	t.Helper()
	require.Eventually(t, func() bool { return len(l.pids("ready[0-9]")) == ranks }, 10*time.Second, 5*time.Millisecond, "ranks do not start")
}

// pids are those in the files that match.
func (l *local) pids(patterns ...string) (pids []int) {
	for _, pattern := range patterns {
		files, _ := filepath.Glob(filepath.Join(l.folder, pattern))
		slices.Sort(files)
		for _, file := range files {
			data, err := os.ReadFile(file)
			pid, wrong := strconv.Atoi(string(data))
			if err == nil && wrong == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// alive reports whether a process runs; one that has ended and was not waited for does not.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(state, "Z")
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(data)
}
