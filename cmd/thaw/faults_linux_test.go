package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/torch"
)

// How long ranks wait for one another in these tests, and how much longer one may take to end after a fault.
const (
	patience = 5 * time.Second
	slack    = 2 * time.Second
)

// The signals by which a rank of a test exits with code 3, and by which it takes memory without end.
const (
	exitSignal   = syscall.SIGUSR1
	memorySignal = syscall.SIGUSR2
)

// actOnSignals has this process, as the program of a test, do to itself what a signal asks for.
func actOnSignals() {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, exitSignal, memorySignal)
	go func() {
		if <-asked == exitSignal {
			os.Exit(3)
		}
		var taken [][]byte
		for range 64 {
			taken = append(taken, bytes.Repeat([]byte{1}, 16<<20))
		}
		panic(fmt.Sprintf("%d MB were given to a process that was to get none", len(taken)*16))
	}()
}

// fault is something that happens to one of the ranks of a run.
type fault struct {
	kind     string
	ranks    int
	victim   int
	launched bool // by thaw launch, which starts the ranks again; otherwise the test does
}

func (f fault) String() string {
	by := "each started by itself"
	if f.launched {
		by = "started by thaw launch"
	}
	return fmt.Sprintf("%s, rank %d of %d, %s", f.kind, f.victim, f.ranks, by)
}

const (
	killed   = "killed"
	paused   = "stopped by SIGSTOP"
	exited   = "exit code 3"
	cut      = "network cut"
	starving = "out of memory"
)

var faultKinds = []string{killed, paused, exited, cut, starving}

// do makes the fault happen to a process.
func (f fault) do(t *testing.T, pid int, n *network) {
	t.Helper()
	send := func(s syscall.Signal) {
		if err := syscall.Kill(pid, s); err != nil {
			require.ErrorIs(t, err, syscall.ESRCH) // it has just ended
		}
	}
	switch f.kind {
	case killed:
		send(syscall.SIGKILL)
	case paused:
		send(syscall.SIGSTOP)
	case exited:
		send(exitSignal)
	case starving:
		if err := limitMemory(t, pid); err != nil {
			require.ErrorIs(t, err, syscall.ESRCH)
		}
		send(memorySignal)
	case cut:
		n.set(f.victim, "down")
	}
}

// named matches what tells the ranks that are left which one is gone: by what they heard of it, or as it did not come.
func (f fault) named() *regexp.Regexp {
	did := fmt.Sprintf(`rank %d \(host |rank (\d+, )*%[1]d(, \d+)* of %d did not come`, f.victim, f.ranks)
	if f.victim == 0 {
		did += "|is rank 0 running there"
	}
	return regexp.MustCompile(did)
}

// member is a process of a test.
type member struct {
	cmd   *exec.Cmd
	out   lockedBuffer // its standard output
	said  lockedBuffer // its standard error
	over  chan struct{}
	ended time.Time
}

// lockedBuffer may be read while a process writes.
type lockedBuffer struct {
	mutex sync.Mutex
	buf   bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.buf.String()
}

// begin starts a process; prefix goes before this program.
func begin(t *testing.T, prefix []string, env []string, args ...string) *member {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	command := slices.Concat(prefix, []string{self}, args)
	m := &member{cmd: exec.Command(command[0], command[1:]...), over: make(chan struct{})}
	m.cmd.Env = slices.Concat(os.Environ(), []string{"THAW_TEST_MAIN=1", "OMP_NUM_THREADS=1"}, env)
	m.cmd.Stdout, m.cmd.Stderr = &m.out, &m.said
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(t, m.cmd.Start())
	go func() {
		_ = m.cmd.Wait()
		m.ended = time.Now()
		close(m.over)
	}()
	t.Cleanup(m.kill)
	return m
}

func (m *member) kill() {
	_ = syscall.Kill(-m.cmd.Process.Pid, syscall.SIGKILL)
	<-m.over
}

// wait waits for the end of the process, and gives its exit code.
func (m *member) wait(t *testing.T, most time.Duration) int {
	t.Helper()
	select {
	case <-m.over:
	case <-time.After(most):
		_ = m.cmd.Process.Signal(syscall.SIGQUIT) // which has a Go program print what it waits for
		time.Sleep(time.Second)
		m.kill()
		require.Fail(t, "a process hangs", "after %v: %s", most, m.said.String())
	}
	return m.cmd.ProcessState.ExitCode()
}

// trainArgs are those of a run that goes on where it was begun.
func trainArgs(folder string, more ...string) []string {
	return slices.Concat([]string{"train", "--resume-if-there", "spec.yaml", "out=" + folder}, more)
}

// ranks starts so many ranks of a command; n is the network in which each is a host, or nil for this machine's.
func ranks(t *testing.T, size int, n *network, args ...string) []*member {
	t.Helper()
	address, port := "127.0.0.1", 0
	if n == nil {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		port = l.Addr().(*net.TCPAddr).Port
		require.NoError(t, l.Close())
	} else {
		address, port = n.address(0), 29500
	}
	var all []*member
	for r := range size {
		env := []string{
			fmt.Sprint("RANK=", r), fmt.Sprint("WORLD_SIZE=", size), "MASTER_ADDR=" + address, fmt.Sprint("MASTER_PORT=", port),
		}
		var prefix []string
		if n == nil {
			env = append(env, fmt.Sprint("LOCAL_RANK=", r), fmt.Sprint("LOCAL_WORLD_SIZE=", size))
		} else {
			prefix = []string{"ip", "netns", "exec", n.host(r)}
		}
		all = append(all, begin(t, prefix, env, args...))
	}
	return all
}

// finish waits for ranks that are to end well.
func finish(t *testing.T, all []*member) {
	t.Helper()
	for r, m := range all {
		require.Zero(t, m.wait(t, time.Minute), "rank %d: %s", r, m.said.String())
	}
}

// children are the ranks that a launcher runs, by number.
func children(t *testing.T, launcher int) map[int]int {
	t.Helper()
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", launcher))
	require.NoError(t, err)
	pids := map[int]int{}
	for _, list := range lists {
		text, err := os.ReadFile(list)
		if err != nil {
			continue // the thread has ended
		}
		for _, field := range strings.Fields(string(text)) {
			pid, err := strconv.Atoi(field)
			require.NoError(t, err)
			env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
			if err != nil {
				continue
			}
			for entry := range strings.SplitSeq(string(env), "\x00") {
				if number, ok := strings.CutPrefix(entry, "RANK="); ok {
					r, err := strconv.Atoi(number)
					require.NoError(t, err)
					pids[r] = pid
				}
			}
		}
	}
	return pids
}

// readable makes sure that the newest checkpoint of a run, if there is one, can be read.
func readable(t *testing.T, folder string) (found bool) {
	t.Helper()
	path, err := finetune.NewFolder(folder).NewestCheckpoint()
	require.NoError(t, err)
	if path == "" {
		return false
	}
	file, err := torch.OpenCheckpoint(path)
	require.NoError(t, err)
	for _, name := range file.Names() {
		tensor, err := file.Tensor(name)
		require.NoError(t, err)
		tensor.Close()
	}
	require.NoError(t, file.Close())
	return true
}

// strike has a fault happen to ranks that were started one by one, and gives the longest time that another one took to end.
// over says that the run was over before.
func (f fault) strike(t *testing.T, n *network, at time.Duration, args []string) (longest time.Duration, over bool) {
	t.Helper()
	if f.kind != cut {
		n = nil
	}
	all := ranks(t, f.ranks, n, args...)
	time.Sleep(at)
	began := time.Now()
	f.do(t, all[f.victim].cmd.Process.Pid, n)
	over = true
	for r, m := range all {
		if r == f.victim && f.kind != cut {
			continue
		}
		code := m.wait(t, patience+slack+10*time.Second)
		longest = max(longest, m.ended.Sub(began))
		if code != exitOK {
			over = false
			require.Equal(t, exitFailed, code, m.said.String())
		}
		if code != exitOK && r != f.victim {
			require.Regexp(t, f.named(), m.said.String(), "rank %d", r)
		}
	}
	all[f.victim].kill()
	if n != nil {
		n.set(f.victim, "up")
	}
	return longest, over
}

// strikeLaunched has a fault happen to a rank of thaw launch, which is to start all again and to come to the run's end.
func (f fault) strikeLaunched(t *testing.T, at time.Duration, args []string) (longest time.Duration, over bool) {
	t.Helper()
	m := begin(t, nil, nil, slices.Concat([]string{"launch", "--nproc", fmt.Sprint(f.ranks), "--max-restarts=3", "--"}, args)...)
	time.Sleep(at)
	var pids map[int]int
	for len(pids) < f.ranks {
		select {
		case <-m.over:
			return 0, true
		default:
			pids = children(t, m.cmd.Process.Pid)
		}
	}
	began := time.Now()
	f.do(t, pids[f.victim], nil)
	for r, pid := range pids {
		for r != f.victim && syscall.Kill(pid, 0) == nil {
			require.Less(t, time.Since(began), patience+slack+10*time.Second, "rank %d hangs: %s", r, m.said.String())
			time.Sleep(10 * time.Millisecond)
		}
	}
	longest = time.Since(began)
	require.Zero(t, m.wait(t, time.Minute), m.said.String())
	said := m.said.String()
	if !strings.Contains(said, "all ranks start again (1 of at most 3)") {
		return longest, true
	}
	require.Regexp(t, map[string]string{
		killed:   fmt.Sprintf(`thaw: launch: rank %d was ended by signal 9`, f.victim),
		exited:   fmt.Sprintf(`thaw: launch: rank %d ended with exit code 3`, f.victim),
		starving: fmt.Sprintf(`thaw: launch: rank %d was ended by signal 9`, f.victim),
		paused:   f.named().String(),
	}[f.kind], said)
	return longest, false
}

// faultPlace is workplace with a model that drops out, and gives the settings of a run that takes a few seconds.
func faultPlace(t *testing.T, dropout float64) (settings []string) {
	t.Helper()
	workplace(t)
	config, err := os.ReadFile("model/config.json")
	require.NoError(t, err)
	write(t, "model/config.json", strings.ReplaceAll(string(config), `_prob": 0.0`, fmt.Sprintf(`_prob": %v`, dropout)))
	return []string{
		"checkpoint={steps: 5}", "batch.size=4", "distributed.timeout=" + patience.String(),
		"phases=[{train: head, epochs: 1, lr: 1e-3}, {train: all, epochs: 8, lr: 1e-3}]",
	}
}

// TestFaults has ranks that train die, stop, lose their network and run out of memory at random moments. The others are to end
// in time and to say which one it was, and all, started again, are to come to the weights of an undisturbed run. THAW_FAULTS is
// how often (make faults), a few times without.
func TestFaults(t *testing.T) {
	times := 4
	if s := os.Getenv("THAW_FAULTS"); s != "" {
		var err error
		times, err = strconv.Atoi(s)
		require.NoError(t, err)
	}
	settings := faultPlace(t, 0.1)
	hosts, noNetwork := newNetwork(t, 4)
	noMemory := memoryLimits()
	type undisturbed struct {
		took    time.Duration
		weights []string
	}
	plain := map[int]undisturbed{}
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 0))
	done, over, restored, longest := map[string]int{}, 0, 0, time.Duration(0)
	for i := range times {
		kind, round := i%len(faultKinds), i/len(faultKinds)
		f := fault{kind: faultKinds[kind], ranks: 2 + 2*(round%2), launched: (kind+round/2)%2 == 1 && faultKinds[kind] != cut}
		if why := map[string]error{cut: noNetwork, starving: noMemory}[f.kind]; why != nil {
			t.Logf("left out: %s: %v", f.kind, why)
			continue
		}
		f.victim = rng.IntN(f.ranks)
		if _, ok := plain[f.ranks]; !ok {
			folder := fmt.Sprint("plain-", f.ranks)
			began := time.Now()
			finish(t, ranks(t, f.ranks, nil, trainArgs(folder, settings...)...))
			plain[f.ranks] = undisturbed{time.Since(began), weights(t, folder)}
			t.Logf("%d ranks train undisturbed for %v", f.ranks, plain[f.ranks].took)
		}
		folder := fmt.Sprint("run-", i)
		args := trainArgs(folder, settings...)
		at := time.Duration(rng.Float64() * float64(plain[f.ranks].took))
		var wait time.Duration
		var ended bool
		if f.launched {
			wait, ended = f.strikeLaunched(t, at, args)
		} else {
			wait, ended = f.strike(t, hosts, at, args)
			if readable(t, folder) {
				restored++
			}
			var again *network
			if f.kind == cut {
				again = hosts
			}
			finish(t, ranks(t, f.ranks, again, args...))
		}
		t.Logf("%d: %v, after %v: waited %v, over %v", i, f, at, wait, ended)
		require.LessOrEqual(t, wait, patience+slack, "%v", f)
		require.Equal(t, plain[f.ranks].weights, weights(t, folder), "%v, after %v", f, at)
		require.NoError(t, os.RemoveAll(folder))
		done[f.kind]++
		longest = max(longest, wait)
		if ended {
			over++
		}
	}
	t.Logf("seed %d: %v, %d of them once the run was over; %d checkpoints were read; the longest wait was %v, with a timeout of %v; all restarts "+
		"ended with the weights of an undisturbed run", seed, done, over, restored, longest, patience)
}

// A run that lost a rank goes on on another number of ranks: what is not drawn at random comes to the same, but for rounding.
func TestFaultsOnOtherRanks(t *testing.T) {
	cases := [][2]int{{2, 1}}
	if os.Getenv("THAW_FAULTS") != "" {
		cases = append(cases, [2]int{2, 4}, [2]int{4, 2}, [2]int{1, 2}, [2]int{4, 1})
	}
	settings := faultPlace(t, 0)
	finish(t, ranks(t, 2, nil, trainArgs("plain", settings...)...))
	want := values(t, "plain")
	for _, c := range cases {
		folder := fmt.Sprintf("run-%d-%d", c[0], c[1])
		args := trainArgs(folder, settings...)
		all := ranks(t, c[0], nil, args...)
		require.Eventually(t, func() bool {
			_, err := os.Stat(filepath.Join(folder, "checkpoints", "latest"))
			return err == nil
		}, time.Minute, time.Millisecond)
		all[c[0]-1].kill()
		for _, m := range all[:c[0]-1] {
			require.Equal(t, exitFailed, m.wait(t, patience+slack), m.said.String())
		}
		require.True(t, readable(t, folder))
		finish(t, ranks(t, c[1], nil, args...))
		most := 0.0
		for name, v := range values(t, folder) {
			require.Len(t, v, len(want[name]), name)
			for i := range v {
				most = max(most, max(float64(v[i]-want[name][i]), float64(want[name][i]-v[i])))
			}
		}
		t.Logf("%d ranks, then %d: weights differ by %.2g at most", c[0], c[1], most)
		assert.Less(t, most, 1e-4)
	}
}

// values are a run's last weights, by name.
func values(t *testing.T, folder string) map[string][]float32 {
	t.Helper()
	file, err := torch.OpenCheckpoint(filepath.Join(folder, "weights", "last.safetensors"))
	require.NoError(t, err)
	out := map[string][]float32{}
	for _, name := range file.Names() {
		tensor, err := file.Tensor(name)
		require.NoError(t, err)
		if tensor.DType() == torch.Float32 {
			out[name] = torch.ToSlice[float32](tensor)
		}
		tensor.Close()
	}
	require.NoError(t, file.Close())
	require.NotEmpty(t, out)
	return out
}
