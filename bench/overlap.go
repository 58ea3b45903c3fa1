package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/thaw-ml/thaw/text"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/dist"
	"github.com/thaw-ml/thaw/torch/dist/launch"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/vision"
)

// overlapKey is the environment's variable that makes this program one of the two ranks that measureRanks starts.
const overlapKey = "THAW_BENCH_OVERLAP"

const (
	overlapSteps = 9
	overlapBatch = 4 // pictures of a rank
	traceParts   = 10
)

// overlap is how reducing gradients goes together with the backward pass of a ResNet-18, on two ranks of one thread.
type overlap struct {
	Buckets  []int64 `json:"buckets_bytes"`
	Backward float64 `json:"backward_ms"`        // without reducing
	After    float64 `json:"backward_reduce_ms"` // reducing when it is over
	During   float64 `json:"overlapped_ms"`      // reducing bucket by bucket as gradients come
	Numbers  float64 `json:"numbers_ms"`         // of a small message to all and back, of which a step has two
	// Sent are the shares, in percent, of a step's bytes on the loopback interface that were there after 1/10, 2/10, ... of it.
	Sent []float64 `json:"sent_during_percent"`
	// Late are those of a step that reduces when backward is over.
	Late []float64 `json:"sent_after_percent"`
	// Networks are the bytes and buckets of a step of other networks.
	Networks []network `json:"networks"`
}

// network is what a step of one sends.
type network struct {
	Name    string  `json:"name"`
	Tensors int     `json:"tensors"`
	Buckets []int64 `json:"buckets_bytes"`
}

// bytes is the sum of the buckets.
func (n network) bytes() (sum int64) {
	for _, b := range n.Buckets {
		sum += b
	}
	return sum
}

// runOverlap is the benchmark by itself.
func runOverlap(o options) error {
	if err := need(); err != nil {
		return err
	}
	r, err := newReport("overlap", 1)
	if err != nil {
		return err
	}
	found, err := measureRanks("steps")
	if err != nil {
		return err
	}
	fmt.Println(r.head())
	found.print(os.Stdout)
	r.Details = found
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return keep(r.file(o.results, ".json"), append(text, '\n'))
}

// measureRanks starts this program as two ranks, and gives what rank 0 found: of "steps", or of "networks" alone.
func measureRanks(what string) (*overlap, error) {
	port, err := launch.FreePort()
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	var out, said [distRanks]bytes.Buffer
	var failures [distRanks]error
	var wait sync.WaitGroup
	for r := range distRanks {
		cmd := exec.CommandContext(ctx, self)
		w := launch.World{Rank: r, Size: distRanks, LocalRank: r, LocalSize: distRanks, Nodes: 1, Address: "127.0.0.1", Port: port}
		cmd.Env = append(append(os.Environ(), w.Environ()...), overlapKey+"="+what, "OMP_NUM_THREADS=1")
		cmd.Stdout, cmd.Stderr = &out[r], &said[r]
		wait.Go(func() {
			if err := cmd.Run(); err != nil {
				failures[r] = fmt.Errorf("rank %d: %w: %s", r, err, said[r].Bytes())
			}
		})
	}
	wait.Wait()
	if err := errors.Join(failures[:]...); err != nil {
		return nil, err
	}
	found := new(overlap)
	return found, json.Unmarshal(out[0].Bytes(), found)
}

// overlapRank is the main function of such a rank.
func overlapRank() int {
	var found overlap
	w, err := launch.Find(launch.Flags{}, os.Getenv)
	if err == nil {
		var g *dist.Group
		if g, err = dist.Join(context.Background(), w, dist.Options{Timeout: time.Minute}); err == nil {
			err = torch.TryErr(func() error { return found.measure(g) })
			g.Fail(err)
			g.Close(err != nil)
		}
	}
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(found)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func (o *overlap) measure(g *dist.Group) error {
	torch.SetNumThreads(1)
	if os.Getenv(overlapKey) == "networks" {
		return o.networks(g)
	}
	c, err := vision.NewClassifier("resnet18", 1000, 1)
	if err != nil {
		return err
	}
	defer c.Close()
	r, params, err := reducerOf(g, c.Net)
	if err != nil {
		return err
	}
	defer r.Close()
	o.Buckets = r.Buckets()
	if err := o.steps(g, r, c.Net, params); err != nil {
		return err
	}
	var took []float64
	for range 200 {
		start := time.Now()
		if _, err := g.Numbers("measuring", 1, 2); err != nil {
			return err
		}
		took = append(took, 1e3*time.Since(start).Seconds())
	}
	o.Numbers = median(took)
	return o.networks(g)
}

// steps measures steps of each kind in turn.
func (o *overlap) steps(g *dist.Group, r *dist.Reducer, net *vision.ResNet, params []torch.Tensor) error {
	x := torch.NewParam(func() torch.Tensor {
		own := torch.NewGenerator(uint64(g.Rank()))
		return torch.Randn(own, torch.Float32, torch.CPU, overlapBatch, 3, distSide, distSide)
	})
	defer x.Close()
	step := func(arm, reduce bool) (took time.Duration, sent []float64, err error) {
		torch.Scoped(func() {
			loss := net.Forward(x).Square().Mean()
			if err = g.Barrier("beginning together"); err != nil {
				return
			}
			t := newTrace()
			start := time.Now()
			if arm {
				if err = r.Arm(); err != nil {
					return
				}
			}
			loss.Backward()
			if reduce {
				err = r.Reduce()
			}
			took = time.Since(start)
			sent = t.end(start, took)
			for _, p := range params {
				torch.NoGrad(func() { p.Grad().Zero_() })
			}
		})
		return took, sent, err
	}
	var alone, after, during []float64
	var early, late [traceParts][]float64
	for i := range overlapSteps + 2 {
		a, _, err := step(false, false)
		if err != nil {
			return err
		}
		b, sentLate, err := step(false, true)
		if err != nil {
			return err
		}
		c, sent, err := step(true, false)
		if err != nil {
			return err
		}
		if i < 2 {
			continue // the first steps find memory
		}
		alone, after, during = append(alone, 1e3*a.Seconds()), append(after, 1e3*b.Seconds()), append(during, 1e3*c.Seconds())
		for k := range traceParts {
			early[k], late[k] = append(early[k], sent[k]), append(late[k], sentLate[k])
		}
	}
	o.Backward, o.After, o.During = median(alone), median(after), median(during)
	for k := range traceParts {
		o.Sent, o.Late = append(o.Sent, median(early[k])), append(o.Late, median(late[k]))
	}
	return nil
}

// networks finds out what a step of networks sends that take longer than they are worth measuring here.
func (o *overlap) networks(g *dist.Group) error {
	resnet, err := vision.NewClassifier("resnet50", 10, 1)
	if err != nil {
		return err
	}
	defer resnet.Close()
	bert, err := text.NewClassifier(text.BertBase(), text.NewHead("a", "b"))
	if err != nil {
		return err
	}
	defer bert.Close()
	top := bert.Stages()
	var upper []any // the top 4 layers, pooler and head
	for _, s := range top[len(top)-5:] {
		upper = append(upper, s.Module)
	}
	for _, n := range []struct {
		name    string
		modules []any
	}{{"ResNet-50 full", []any{resnet.Net}}, {"BERT-base full", []any{bert}}, {"BERT-base top 4", upper}} {
		r, params, err := reducerOf(g, n.modules...)
		if err != nil {
			return err
		}
		o.Networks = append(o.Networks, network{n.name, len(params), r.Buckets()})
		r.Close()
	}
	return nil
}

// reducerOf makes a reducer of all parameters of modules, which are trained from then on.
func reducerOf(g *dist.Group, modules ...any) (*dist.Reducer, []torch.Tensor, error) {
	var params []torch.Tensor
	for _, m := range modules {
		for _, p := range nn.Params(m) {
			params = append(params, p.RequiresGrad_(true))
		}
	}
	r, err := g.NewReducer(params)
	return r, params, err
}

// trace notes how many bytes have gone over the loopback interface, while something else computes.
type trace struct {
	stop  chan struct{}
	ended chan struct{}
	at    []time.Time
	bytes []int64
}

func newTrace() *trace {
	t := &trace{stop: make(chan struct{}), ended: make(chan struct{})}
	t.note()
	go func() {
		defer close(t.ended)
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-t.stop:
				t.note()
				return
			case <-tick.C:
				t.note()
			}
		}
	}()
	return t
}

func (t *trace) note() {
	if b, err := loopbackBytes(); err == nil {
		t.at, t.bytes = append(t.at, time.Now()), append(t.bytes, b)
	}
}

// end gives the percentages of all bytes that had gone after each part of the time.
func (t *trace) end(start time.Time, took time.Duration) []float64 {
	close(t.stop)
	<-t.ended
	out := make([]float64, traceParts)
	if len(t.bytes) == 0 {
		return out
	}
	first, all := t.bytes[0], max(1, t.bytes[len(t.bytes)-1]-t.bytes[0])
	for k := range out {
		limit := start.Add(took * time.Duration(k+1) / traceParts)
		for i, at := range t.at {
			if !at.After(limit) || k == traceParts-1 {
				out[k] = 100 * float64(t.bytes[i]-first) / float64(all)
			}
		}
	}
	return out
}

// loopbackBytes reads what the loopback interface has received (man 5 proc_pid_net).
func loopbackBytes() (int64, error) {
	text, err := os.ReadFile("/proc/self/net/dev")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if name, rest, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "lo" {
			return strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
		}
	}
	return 0, errors.New("/proc/self/net/dev has no interface lo")
}

func (o *overlap) print(w io.Writer) {
	whole := network{Buckets: o.Buckets}
	fmt.Fprintf(w, "\nReducing beside the backward pass: ResNet-18, %d pictures a rank, 2 ranks of one thread\n", overlapBatch)
	fmt.Fprintf(w, "  %.1f MB in %d buckets of %s\n", float64(whole.bytes())/1e6, len(o.Buckets), megabytes(o.Buckets))
	fmt.Fprintf(w, "  backward alone %.1f ms\n", o.Backward)
	fmt.Fprintf(w, "  gradients reduced afterwards %.1f ms: %.1f more\n", o.After, o.After-o.Backward)
	fmt.Fprintf(w, "  gradients reduced as they come %.1f ms: %.1f more\n", o.During, o.During-o.Backward)
	fmt.Fprintf(w, "  a small message to all ranks: %.3f ms; a step has two\n", o.Numbers)
	fmt.Fprintf(w, "  bytes that were sent by then, in percent of the step's:\n  time      ")
	for k := range traceParts {
		fmt.Fprintf(w, "%5d%%", 100*(k+1)/traceParts)
	}
	for _, line := range []struct {
		name string
		sent []float64
	}{{"as they come", o.Sent}, {"afterwards", o.Late}} {
		fmt.Fprintf(w, "\n  %-13s", line.name)
		for i, s := range line.sent {
			fmt.Fprintf(w, "%*.0f", map[bool]int{true: 4, false: 6}[i == 0], s)
		}
	}
	fmt.Fprintln(w)
	for _, n := range o.Networks {
		fmt.Fprintf(w, "  %s: %d tensors, %.1f MB a step in %d buckets\n", n.Name, n.Tensors, float64(n.bytes())/1e6, len(n.Buckets))
	}
	fmt.Fprintln(w)
}

// megabytes writes the sizes of buckets.
func megabytes(sizes []int64) string {
	var out []string
	for _, s := range sizes {
		out = append(out, fmt.Sprintf("%.1f", float64(s)/1e6))
	}
	return strings.Join(out, ", ") + " MB"
}
