package train

import (
	"context"
	"errors"
	"slices"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/cuda"
)

// maxInFlight is how many steps a GPU may be maxInFlight the CPU: enough that the GPU never waits, few enough that
// batches do not pile up and reported progress is true.
const maxInFlight = 4

// gpu is the backend of a CUDA device. All compute is queued on one stream, not the default one, on which graphs are
// captured too: autograd accumulates a gradient on the stream where its parameter was first used.
type gpu struct {
	index         int
	compute, copy cuda.Stream
	settings      cuda.Settings // to be set in within
	before        cuda.Settings
	seed          uint64
	copied        *cuda.Event // the prefetched copies are done
	read          *cuda.Event // the staging buffers were read
	marks         [maxInFlight]*cuda.Event
	next          int           // of marks
	open          []*cuda.Graph // all share one memory: only one runs at a time
	keepStreams   bool          // see KeepStreams
	started       bool          // there are streams
}

func newGPU(device torch.Device, settings cuda.Settings, seed uint64) (*gpu, error) {
	if err := device.Check(); err != nil {
		return nil, err
	}
	return &gpu{index: device.Index, settings: settings, seed: seed}, nil
}

func (g *gpu) Device() torch.Device { return torch.CUDA(g.index) }

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
	return g.ResetPeak()
}

func (g *gpu) events() []**cuda.Event {
	all := []**cuda.Event{&g.copied, &g.read}
	for i := range g.marks {
		all = append(all, &g.marks[i])
	}
	return all
}

// Within runs f on the compute stream with the run's settings. One call at a time uses GPUs in a process.
func (g *gpu) Within(ctx context.Context, f func() error) error {
	return gpuLock.Within(ctx, func() error { return g.within(f) })
}

func (g *gpu) within(f func() error) (err error) {
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

// tidy gives back what libraries keep of a run: cuBLAS its workspaces, of which each pair of a thread and a stream has
// its own, the allocator the memory of graphs, which nothing else would use. Where streams are kept the allocator keeps
// the workspaces, for whichever thread comes.
func (g *gpu) tidy() error {
	if err := errors.Join(cuda.Synchronize(g.index), cuda.DropWorkspaces()); err != nil || g.keepStreams {
		return err
	}
	return g.EmptyCache()
}

func (g *gpu) Pin(tensors []torch.Tensor) []torch.Tensor {
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

func (g *gpu) Prefetch(f func()) error {
	if err := g.read.Block(g.copy); err != nil {
		return err
	}
	if err := cuda.WithStream(g.copy, f); err != nil {
		return err
	}
	if err := g.copied.Record(g.copy); err != nil {
		return err
	}
	return g.copied.Block(g.compute)
}

func (g *gpu) AllocFence() error  { return g.read.Record(g.compute) }
func (g *gpu) StagingFree() error { return g.read.Record(g.compute) }

func (g *gpu) Throttle() error {
	mark := g.marks[g.next]
	g.next = (g.next + 1) % maxInFlight
	if err := mark.Synchronize(); err != nil { // of maxInFlight calls ago; one that was never recorded is done
		return err
	}
	return mark.Record(g.compute)
}

func (g *gpu) Read(t torch.Tensor) (_ Reading, err error) {
	r := &arriving{}
	defer func() {
		if err != nil {
			r.Close()
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

func (r *arriving) Done() bool {
	done, err := r.event.Done()
	return done || err != nil // wait tells the error
}

func (r *arriving) Wait() (float64, error) {
	if err := r.event.Synchronize(); err != nil {
		return 0, err
	}
	return r.host.Item(), nil
}

func (r *arriving) Close() {
	r.host.Close()
	r.event.Close()
}

func (g *gpu) Capture(f func()) (Graph, error) {
	if err := g.EmptyCache(); err != nil { // during a capture the allocator cannot, should memory run short
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

func (g *gpu) ShareGraphMemory(f func() error) (err error) {
	if len(g.open) == 0 {
		return f()
	}
	failure := g.open[len(g.open)-1].Share(func() { err = f() })
	return errors.Join(err, failure)
}

// captured is a CUDA graph.
type captured struct {
	graph *cuda.Graph
	gpu   *gpu
}

func (c captured) Replay() error { return c.graph.Replay() }

func (c captured) Close() {
	c.gpu.open = slices.DeleteFunc(c.gpu.open, func(g *cuda.Graph) bool { return g == c.graph })
	c.graph.Close()
}

func (g *gpu) Generator() (*torch.Generator, error) { return g.Device().Generator() }
func (g *gpu) Synchronize() error                   { return cuda.Synchronize(g.index) }

func (g *gpu) FreeMemory() int64 {
	m, err := cuda.Memory(g.index)
	if err != nil {
		return 0
	}
	return m.Free + m.Reserved - m.Allocated
}

func (g *gpu) EmptyCache() error { return cuda.EmptyCache() }
func (g *gpu) ResetPeak() error  { return errors.Join(g.EmptyCache(), cuda.ResetPeak(g.index)) }

func (g *gpu) Peak() int64 {
	m, err := cuda.Memory(g.index)
	if err != nil {
		return 0
	}
	return m.ReservedPeak // memory of graphs is counted here, and not in Allocated
}

// Asynchronous is true.
func (g *gpu) Asynchronous() bool { return true }

func (g *gpu) KeepStreams(on bool) { g.keepStreams = on }
