package dist_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/dist"
	"github.com/thaw-ml/thaw/torch/dist/disttest"
	"github.com/thaw-ml/thaw/torch/dist/launch"
)

// programs are what the ranks of a test run, by name: this binary started anew.
var programs = map[string]func(g *dist.Group) (any, error){}

const programKey = "THAW_DIST_TEST"

func TestMain(m *testing.M) {
	name := os.Getenv(programKey)
	if name == "" {
		os.Exit(m.Run())
	}
	torch.SetNumThreads(1)
	w, err := launch.Find(launch.Flags{}, os.Getenv)
	if err == nil {
		timeout, _ := time.ParseDuration(os.Getenv("THAW_DIST_TIMEOUT")) // start has set it
		var g *dist.Group
		if g, err = dist.Join(context.Background(), w, dist.Options{Timeout: timeout, Device: deviceOf(name, w)}); err == nil {
			var out any
			if out, err = programs[name](g); err == nil {
				err = json.NewEncoder(os.Stdout).Encode(out)
			}
			g.Fail(err)
			g.Close(err != nil)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// deviceOf is what a program's rank computes on.
func deviceOf(program string, w launch.World) torch.Device {
	if program == "nccl" {
		return torch.CUDA(w.LocalRank)
	}
	return torch.CPU
}

// start starts ranks that run a program, and gives what waits for them.
func start(t *testing.T, program string, size int, timeout time.Duration) ([]*disttest.Rank, func()) {
	t.Helper()
	return disttest.Start(t, size, environment(program, timeout)...)
}

func environment(program string, timeout time.Duration) []string {
	return []string{programKey + "=" + program, "THAW_DIST_TIMEOUT=" + timeout.String()}
}

// all runs a program on so many ranks and gives what each printed.
func all[T any](t *testing.T, program string, size int) []T {
	t.Helper()
	return disttest.Results[T](t, size, environment(program, 30*time.Second)...)
}

type collected struct {
	Sum, Max, Broadcast []float32
	Gathered            [][]int64
	AtRoot              [][]int64
	Numbers             [][]float64
	Messages            []string
	Sent                string
	Agreed              string
	Gradient            []float32
}

func init() {
	programs["collectives"] = func(g *dist.Group) (_ any, err error) {
		var c collected
		fail := func(e error) {
			if err == nil {
				err = e
			}
		}
		torch.Scoped(func() {
			r := float32(g.Rank())
			sum, most, from := torch.FromSlice([]float32{1, r}), torch.FromSlice([]float32{r, -r}), torch.FromSlice([]float32{r, 7 + r})
			fail(g.AllReduce("adding up", dist.Sum, sum))
			fail(g.AllReduce("finding the largest", dist.Max, most))
			fail(g.Broadcast("sending", 1, from))
			c.Sum, c.Max, c.Broadcast = torch.ToSlice[float32](sum), torch.ToSlice[float32](most), torch.ToSlice[float32](from)
			gathered, e := g.AllGather("gathering", torch.FromSlice([]int64{int64(g.Rank()), 9}))
			fail(e)
			for _, t := range gathered {
				c.Gathered = append(c.Gathered, torch.ToSlice[int64](t))
			}
			atRoot, e := g.Gather("gathering", 1, torch.FromSlice([]int64{int64(g.Rank())}))
			fail(e)
			for _, t := range atRoot {
				c.AtRoot = append(c.AtRoot, torch.ToSlice[int64](t))
			}
			c.Numbers, e = g.Numbers("counting", float64(g.Rank()), 0.5)
			fail(e)
			messages, e := g.Exchange("talking", []byte(strings.Repeat("ab", 200*g.Rank())))
			fail(e)
			for _, m := range messages {
				c.Messages = append(c.Messages, string(m))
			}
			sent, e := g.Send("sending", 1, []byte(fmt.Sprint("from ", g.Rank())))
			fail(e)
			c.Sent = string(sent)
			fail(g.Barrier("meeting"))
			fail(g.MonitoredBarrier("meeting", 5*time.Second))
			var mistake error
			if g.Rank() == 1 {
				mistake = errors.New("no such file")
			}
			c.Agreed = g.Agree("reading", mistake).Error()
			// d/dx of the sum over ranks of (rank+1) * x, asked for on each rank with a gradient of its own.
			x := torch.FromSlice([]float32{1, 2}).RequiresGrad_(true)
			g.SumOf(x).BackwardWith(torch.FromSlice([]float32{1, r}))
			c.Gradient = torch.ToSlice[float32](x.Grad())
		})
		return c, err
	}
	programs["count"] = func(g *dist.Group) (any, error) {
		for i := 0; ; i++ {
			if _, err := g.Numbers("counting together", float64(i)); err != nil {
				return nil, err
			}
			if i == 20 && g.Rank() == 0 {
				fmt.Println("counting")
			}
			time.Sleep(time.Millisecond)
		}
	}
	programs["mistake"] = func(g *dist.Group) (any, error) {
		for i := 0; ; i++ {
			if i == 100 && g.Rank() == 1 {
				return nil, errors.New("reading cat.jpg: no such file")
			}
			if _, err := g.Numbers("counting together", float64(i)); err != nil {
				return nil, err
			}
		}
	}
}

func TestCollectives(t *testing.T) {
	for _, size := range []int{2, 3} {
		t.Run(fmt.Sprint(size, " ranks"), func(t *testing.T) {
			for r, c := range all[collected](t, "collectives", size) {
				n := float32(size)
				assert.Equal(t, []float32{n, n * (n - 1) / 2}, c.Sum)
				assert.Equal(t, []float32{n - 1, 0}, c.Max)
				assert.Equal(t, []float32{1, 8}, c.Broadcast)
				assert.Len(t, c.Gathered, size)
				for i := range size {
					assert.Equal(t, []int64{int64(i), 9}, c.Gathered[i])
					assert.Equal(t, []float64{float64(i), 0.5}, c.Numbers[i])
					assert.Equal(t, strings.Repeat("ab", 200*i), c.Messages[i])
				}
				if r == 1 {
					assert.Len(t, c.AtRoot, size)
					assert.Equal(t, "no such file", c.Agreed)
				} else {
					assert.Empty(t, c.AtRoot)
					assert.Equal(t, "reading: rank 1: no such file", c.Agreed)
				}
				assert.Equal(t, "from 1", c.Sent)
				assert.Equal(t, []float32{n, n * (n - 1) / 2}, c.Gradient)
			}
		})
	}
}

// A rank that is killed, stopped or failed: the others end in time and say which it was.
func TestFaults(t *testing.T) {
	const timeout = 4 * time.Second
	for _, c := range []struct {
		name    string
		program string
		victim  int
		do      func(p *os.Process) error
		want    []string // parts of what the others say
	}{
		{"killed", "count", 1, (*os.Process).Kill, []string{"counting together", "rank 1 (host ", "has not been heard of"}},
		{"the store's rank killed", "count", 0, (*os.Process).Kill, []string{"the store at 127.0.0.1:", "rank 0 (host ", "does not answer"}},
		{"stopped", "count", 2, func(p *os.Process) error { return p.Signal(syscall.SIGSTOP) }, []string{"rank 2 (host ", "has not been heard of"}},
		{"the store's rank stopped", "count", 0, func(p *os.Process) error { return p.Signal(syscall.SIGSTOP) }, []string{"does not answer"}},
		{"failed", "mistake", 1, nil, []string{"rank 1 (host ", "failed: reading cat.jpg: no such file"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			ranks, wait := start(t, c.program, 3, timeout)
			var hurt time.Time
			if c.do != nil {
				require.Eventually(t, func() bool { return strings.Contains(ranks[0].Out.String(), "counting") }, time.Minute, time.Millisecond)
				hurt = time.Now()
				require.NoError(t, c.do(ranks[c.victim].Cmd.Process))
				time.AfterFunc(timeout+8*time.Second, func() { ranks[c.victim].Cmd.Process.Kill() }) //nolint:errcheck // it may have ended
			}
			wait()
			for i, r := range ranks {
				if i == c.victim {
					continue
				}
				require.Error(t, r.Err, "rank %d", i)
				for _, part := range c.want {
					assert.Contains(t, r.Log.String(), part, "rank %d", i)
				}
				if c.do != nil {
					assert.Less(t, r.Ended.Sub(hurt), timeout+2*time.Second, "rank %d", i)
				}
			}
		})
	}
}

func TestJoinSaysWhoIsMissing(t *testing.T) {
	port, err := launch.FreePort()
	require.NoError(t, err)
	_, err = dist.Join(t.Context(), launch.World{Rank: 0, Size: 3, Nodes: 1, Address: "127.0.0.1", Port: port}, dist.Options{Timeout: time.Second})
	assert.ErrorContains(t, err, "rank 0 of 3, joining the others: within")
	assert.ErrorContains(t, err, "rank 1, 2 of 3 did not come")
	_, err = dist.Join(t.Context(), launch.World{Rank: 1, Size: 3, Nodes: 1, Address: "127.0.0.1", Port: port + 1}, dist.Options{Timeout: time.Second})
	assert.ErrorContains(t, err, "rank 1 of 3, joining the others: connecting to the store at 127.0.0.1:")
}

func TestAlone(t *testing.T) {
	g, err := dist.Join(t.Context(), launch.World{Size: 1}, dist.Options{})
	require.NoError(t, err)
	assert.Nil(t, g)
	assert.Equal(t, 1, g.Size())
	require.NoError(t, g.Barrier("waiting"))
	all, err := g.Numbers("counting", 3)
	require.NoError(t, err)
	assert.Equal(t, [][]float64{{3}}, all)
	g.Close(false)
}
