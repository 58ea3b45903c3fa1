package finetune

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"syscall"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/cuda"
)

// behind is how many steps a GPU may be behind the CPU: enough that it never waits, few enough that batches do not pile
// up and what is told of the run is true.
const behind = 4

// gpu is a CUDA device. All computing goes to one stream that is not the default one, on which graphs are recorded too:
// autograd accumulates a gradient on the stream where its parameter was first used.
type gpu struct {
	index         int
	compute, copy cuda.Stream
	settings      cuda.Settings // to be set in within
	before        cuda.Settings
	seed          uint64
	arrived       *cuda.Event // the copies ahead are done
	took          *cuda.Event // what was copied is read
	marks         [behind]*cuda.Event
	next          int           // of marks
	open          []*cuda.Graph // all share one memory: only one runs at a time
	lasting       bool          // within will be called again soon: streams, and what is kept for them, stay
	started       bool          // there are streams
}

func newGPU(device torch.Device, settings cuda.Settings, seed uint64) (*gpu, error) {
	if err := device.Check(); err != nil {
		return nil, err
	}
	return &gpu{index: device.Index, settings: settings, seed: seed}, nil
}

func (g *gpu) device() torch.Device { return torch.CUDA(g.index) }

// start makes events and, once, streams: what the allocator and cuBLAS keep is of the stream that used it.
func (g *gpu) start() (err error) {
	for _, e := range g.events() {
		if *e, err = cuda.NewEvent(cuda.EventOptions{Device: g.index}); err != nil {
			return err
		}
	}
	if g.started {
		return nil
	}
	if g.compute, err = cuda.NewStream(cuda.StreamOptions{Device: g.index, HighPriority: true}); err != nil {
		return err
	}
	if g.copy, err = cuda.NewStream(cuda.StreamOptions{Device: g.index}); err != nil {
		return err
	}
	g.started = true
	return g.resetPeak()
}

func (g *gpu) events() []**cuda.Event {
	all := []**cuda.Event{&g.arrived, &g.took}
	for i := range g.marks {
		all = append(all, &g.marks[i])
	}
	return all
}

// turns lets one run at a time use GPUs in a process: settings and cuBLAS's workspaces belong to all of it. Who has put
// something into it has the turn; turn is that thread, 0 for none.
var (
	turns = make(chan struct{}, 1)
	turn  atomic.Int64
)

func (g *gpu) within(ctx context.Context, f func() error) (err error) {
	self := int64(syscall.Gettid()) // stays this goroutine's: who calls within has locked it
	if turn.Load() == self {
		return errors.New("a GPU is in use by the call that this one was made from: runs and predictions on GPUs take turns, so begin none in a callback of another")
	}
	select {
	case turns <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("waiting for another run's turn on the GPU to end: %w", ctx.Err())
	}
	turn.Store(self)
	defer func() {
		turn.Store(0)
		<-turns
	}()
	defer func() {
		for _, e := range g.events() {
			(*e).Close()
			*e = nil
		}
	}()
	outer := cuda.WithDevice(g.index, func() {
		if err = g.start(); err != nil {
			return
		}
		if g.before, err = cuda.CurrentSettings(); err != nil {
			return
		}
		if err = g.settings.Apply(); err != nil {
			return
		}
		defer func() {
			err = errors.Join(err, g.before.Apply())
			if e := g.tidy(); err == nil {
				err = e
			}
		}()
		if err = cuda.Seed(g.index, g.seed); err != nil {
			return
		}
		var failure error
		inner := cuda.WithStream(g.compute, func() { failure = f() })
		err = errors.Join(failure, inner)
	})
	return errors.Join(outer, err)
}

// tidy gives back what libraries keep of a run: cuBLAS its workspaces, of which each pair of a thread and a stream has its
// own, the allocator the memory of graphs, which nothing else would use. Where within will be called again the allocator
// keeps the workspaces, for whichever thread comes.
func (g *gpu) tidy() error {
	if err := errors.Join(cuda.Synchronize(g.index), cuda.DropWorkspaces()); err != nil || g.lasting {
		return err
	}
	return g.release()
}

func (g *gpu) pin(tensors []torch.Tensor) []torch.Tensor {
	out := make([]torch.Tensor, len(tensors))
	err := cuda.WithDevice(g.index, func() {
		for i, t := range tensors {
			if t.Defined() {
				out[i] = t.PinMemory()
			}
		}
	})
	if err != nil {
		panic(&torch.Error{Op: "pin_memory", Msg: err.Error()})
	}
	return out
}

func (g *gpu) copyAhead(f func()) error {
	if err := g.took.Block(g.copy); err != nil {
		return err
	}
	if err := cuda.WithStream(g.copy, f); err != nil {
		return err
	}
	if err := g.arrived.Record(g.copy); err != nil {
		return err
	}
	return g.arrived.Block(g.compute)
}

func (g *gpu) made() error  { return g.took.Record(g.compute) }
func (g *gpu) taken() error { return g.took.Record(g.compute) }

func (g *gpu) pace() error {
	mark := g.marks[g.next]
	g.next = (g.next + 1) % behind
	if err := mark.Synchronize(); err != nil { // of behind calls ago; one that was never recorded is done
		return err
	}
	return mark.Record(g.compute)
}

func (g *gpu) read(t torch.Tensor) (_ reading, err error) {
	r := &arriving{}
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	if r.event, err = cuda.NewEvent(cuda.EventOptions{Device: g.index}); err != nil {
		return nil, err
	}
	torch.Scoped(func() {
		r.host = torch.Keep(torch.Zeros(torch.Float64, torch.CPU).PinMemory())
		r.host.CopyAsync_(t)
	})
	return r, r.event.Record(g.compute)
}

// arriving is a value that a copy brings.
type arriving struct {
	host  torch.Tensor
	event *cuda.Event
}

func (r *arriving) done() bool {
	done, err := r.event.Done()
	return done || err != nil // wait tells the error
}

func (r *arriving) wait() (float64, error) {
	if err := r.event.Synchronize(); err != nil {
		return 0, err
	}
	return r.host.Item(), nil
}

func (r *arriving) close() {
	r.host.Close()
	r.event.Close()
}

func (g *gpu) capture(f func()) (recording, error) {
	if err := g.release(); err != nil { // during a capture the allocator cannot, should memory run short
		return nil, err
	}
	o := cuda.GraphOptions{Device: g.index, WarmUp: -1}
	if n := len(g.open); n > 0 {
		o.SharePool = g.open[n-1]
	}
	graph, err := cuda.NewGraph(o)
	if err != nil {
		return nil, err
	}
	if err := graph.Capture(func() []torch.Tensor { f(); return nil }); err != nil {
		graph.Close()
		return nil, err
	}
	g.open = append(g.open, graph)
	return captured{graph, g}, nil
}

func (g *gpu) share(f func() error) (err error) {
	if len(g.open) == 0 {
		return f()
	}
	failure := g.open[len(g.open)-1].Share(func() { err = f() })
	return errors.Join(err, failure)
}

// captured is a recording on a GPU.
type captured struct {
	graph *cuda.Graph
	gpu   *gpu
}

func (c captured) replay() error { return c.graph.Replay() }

func (c captured) close() {
	c.gpu.open = slices.DeleteFunc(c.gpu.open, func(g *cuda.Graph) bool { return g == c.graph })
	c.graph.Close()
}

func (g *gpu) generator() (*torch.Generator, error) { return g.device().Generator() }
func (g *gpu) synchronize() error                   { return cuda.Synchronize(g.index) }

func (g *gpu) free() int64 {
	m, err := cuda.Memory(g.index)
	if err != nil {
		return 0
	}
	return m.Free + m.Reserved - m.Allocated
}

func (g *gpu) release() error   { return cuda.EmptyCache() }
func (g *gpu) resetPeak() error { return errors.Join(g.release(), cuda.ResetPeak(g.index)) }

func (g *gpu) peak() int64 {
	m, err := cuda.Memory(g.index)
	if err != nil {
		return 0
	}
	return m.ReservedPeak // what recordings keep counts; among Allocated it does not
}
