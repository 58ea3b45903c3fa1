package dist

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/dist/launch"
	"github.com/thaw-ml/thaw/torch/internal/bridge"
	"github.com/thaw-ml/thaw/torch/internal/capi"
)

// What package torch keeps to itself.
var (
	native = bridge.Native.(func(t torch.Tensor, op string) capi.Handle)
	adopt  = bridge.Adopt.(func(h capi.Handle, scope int32) torch.Tensor)
)

// DefaultTimeout is how long a rank waits for the others, as PyTorch does between GPUs.
const DefaultTimeout = 10 * time.Minute

// Options say how a group is joined.
type Options struct {
	// Timeout ends every wait for other ranks; 0 for DefaultTimeout. It must be longer than what one rank does alone, such as
	// writing a checkpoint.
	Timeout time.Duration
	// Device, where it is a GPU, is this process's own: tensors there go between GPUs by NCCL. Ranks of one machine have
	// different ones. The zero value is the CPU, whose tensors go by Gloo in any case.
	Device torch.Device
}

// Group is the processes that train together, of which this is one. It is used by one goroutine at a time, but for Fail.
type Group struct {
	world   launch.World
	timeout time.Duration
	store   capi.Store // with the prefix of this start
	whole   capi.Store
	gloo    capi.Group
	nccl    capi.Group // 0 without a GPU
	aborted bool       // nccl was
	device  torch.Device
	monitor *monitor
}

// Join waits for all ranks. A world of one process gives nil, which is a group too. The group is to be closed.
func Join(ctx context.Context, w launch.World, o Options) (*Group, error) {
	if w.Size <= 1 {
		return nil, nil
	}
	if w.Starter {
		return nil, errors.New("joining: this process starts ranks and is none itself")
	}
	g := &Group{world: w, timeout: o.Timeout, device: o.Device}
	if g.timeout <= 0 {
		g.timeout = DefaultTimeout
	}
	joined := make(chan error, 1)
	var connected atomic.Bool
	go func() { joined <- g.join(o.Device, &connected) }()
	var err error
	select {
	case err = <-joined:
	case <-time.After(g.timeout + joinSlack): // a store whose process is stopped keeps its clients waiting
		what := "connecting to the store at"
		if connected.Load() {
			what = "waiting for the other ranks by the store at"
		}
		err = fmt.Errorf("%s %s:%d: no answer within %v: is rank 0 running there, and does a firewall let the port through?",
			what, w.Address, w.Port, g.timeout)
	case <-ctx.Done(): // what join waits for ends with the process, or by its timeout
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, &Error{Rank: w.Rank, Size: w.Size, Doing: "joining the others", Err: err}
	}
	return g, nil
}

// joinSlack is how long it takes at most to say which ranks are missing.
const joinSlack = 750 * time.Millisecond

func (g *Group) join(device torch.Device, connected *atomic.Bool) error {
	w, end := g.world, time.Now().Add(g.timeout)
	serves := w.Rank == 0 && !w.AgentStore
	connect := func() (capi.Store, error) {
		host := w.Address
		if serves {
			host = "localhost"
		}
		s, _, err := capi.NewStore(host, w.Port, serves && g.whole == 0, time.Until(end))
		switch {
		case err == nil:
			return s, nil
		case serves && strings.Contains(err.Msg, "EADDRINUSE"):
			return 0, fmt.Errorf("port %d is taken, by another run perhaps: choose a free one (MASTER_PORT)", w.Port)
		default:
			return 0, fmt.Errorf("connecting to the store at %s:%d within %v: %s: is rank 0 running there, and does a firewall let the port through?",
				w.Address, w.Port, g.timeout, firstLine(err.Msg))
		}
	}
	var err error
	if g.whole, err = connect(); err != nil {
		return err
	}
	prefix := fmt.Sprintf("thaw/%s/%d", w.RunID, w.Restart)
	var failure *capi.Error
	if g.store, failure = g.whole.Prefixed(prefix); failure != nil {
		return errors.New(failure.Msg)
	}
	second, err := connect()
	if err != nil {
		return err
	}
	connected.Store(true)
	beats, failure := second.Prefixed(prefix)
	if failure != nil {
		return errors.New(failure.Msg)
	}
	address, err := localAddress(w)
	if err != nil {
		return err
	}
	m := newMonitor(beats, w, address)
	if err := m.introduce(time.Until(end)); err != nil {
		if serves {
			time.Sleep(joinSlack / 2) // the others are to find out, too, by this process's store
		}
		return err
	}
	m.start()
	gloo, failure := g.store.Prefixed("gloo")
	if failure == nil {
		g.gloo, failure = capi.NewGroup(gloo, w.Rank, w.Size, address, g.timeout)
	}
	if failure != nil {
		peers := m.suspects(end)
		m.leave(true)
		if peers != "" {
			return fmt.Errorf("connecting to the other ranks: %s: %s", peers, firstLine(failure.Msg))
		}
		return fmt.Errorf("connecting to the other ranks from %s: %s: can the nodes reach each other at these addresses? "+
			"GLOO_SOCKET_IFNAME names the network interface to use", address, firstLine(failure.Msg))
	}
	if device.Type == torch.CUDAType {
		if err := g.joinNCCL(device); err != nil {
			return err
		}
	}
	g.monitor = m
	return nil
}

// joinNCCL makes the group of the GPUs. It connects when it is first used.
func (g *Group) joinNCCL(device torch.Device) error {
	store, err := g.store.Prefixed("nccl")
	if err == nil {
		g.nccl, err = capi.NewNCCLGroup(store, g.world.Rank, g.world.Size, device.Index, g.timeout)
	}
	if err != nil {
		return fmt.Errorf("NCCL on %v: %s", device, firstLine(err.Msg))
	}
	return nil
}

// of is what carries a tensor.
func (g *Group) of(t torch.Tensor) capi.Group {
	if t.Device().Type != torch.CUDAType {
		return g.gloo
	}
	if g.nccl == 0 {
		panic(&torch.Error{Op: "collective", Msg: "the tensor is on " + t.Device().String() + " and the group was joined without a GPU (dist.Options.Device)"})
	}
	return g.nccl
}

// Rank is this process's number, from 0.
func (g *Group) Rank() int {
	if g == nil {
		return 0
	}
	return g.world.Rank
}

// Size is the number of processes.
func (g *Group) Size() int {
	if g == nil {
		return 1
	}
	return g.world.Size
}

// Device is this process's own, see [Options]; of a group of one process the CPU.
func (g *Group) Device() torch.Device {
	if g == nil {
		return torch.CPU
	}
	return g.device
}

// Op is what a reduction makes of the ranks' elements.
type Op int

// The ways to reduce.
const (
	Sum Op = capi.ReduceSum
	Max Op = capi.ReduceMax
	Min Op = capi.ReduceMin
)

// AllReduce puts the sum over all ranks, or what op says, into the tensors: contiguous, of the same shapes on all ranks, on the
// CPU or on the group's device. doing is for an error, as in "adding up gradients".
func (g *Group) AllReduce(doing string, op Op, tensors ...torch.Tensor) error {
	if g == nil {
		return nil
	}
	return g.each(doing, tensors, func(t torch.Tensor) (capi.Work, *capi.Error) {
		return g.of(t).AllReduce(native(t, "all_reduce"), int(op), g.timeout)
	})
}

// Broadcast puts root's tensors into those of all ranks: contiguous, of the same shapes on all ranks, on the CPU or
// on the group's device.
func (g *Group) Broadcast(doing string, root int, tensors ...torch.Tensor) error {
	if g == nil {
		return nil
	}
	return g.each(doing, tensors, func(t torch.Tensor) (capi.Work, *capi.Error) {
		return g.of(t).Broadcast(native(t, "broadcast"), root, g.timeout)
	})
}

// ahead is the number of collectives that are begun before the first is waited for.
const ahead = 8

// each begins a collective on each tensor, a few ahead of those that are waited for.
func (g *Group) each(doing string, tensors []torch.Tensor, begin func(torch.Tensor) (capi.Work, *capi.Error)) error {
	start := time.Now()
	var works []capi.Work
	var failure *capi.Error
	wait := func(left int) {
		for ; len(works) > left; works = works[1:] {
			if err := works[0].Wait(); failure == nil {
				failure = err
			}
		}
	}
	for _, t := range tensors {
		w, err := begin(t)
		if err != nil {
			if failure == nil {
				failure = err
			}
			break
		}
		works = append(works, w)
		if wait(ahead); failure != nil {
			break
		}
	}
	wait(0)
	runtime.KeepAlive(tensors)
	if failure != nil {
		return g.failed(doing, start, failure)
	}
	return nil
}

// AllGather gives the tensors of all ranks, by rank, each like t, which is contiguous.
func (g *Group) AllGather(doing string, t torch.Tensor) ([]torch.Tensor, error) {
	if g == nil {
		return []torch.Tensor{t.Clone()}, nil
	}
	start := time.Now()
	out, handles := make([]torch.Tensor, g.Size()), make([]capi.Handle, g.Size())
	for i := range out {
		out[i] = torch.Empty(t.DType(), t.Device(), t.Shape()...)
		handles[i] = native(out[i], "all_gather")
	}
	w, err := g.of(t).AllGather(native(t, "all_gather"), handles, g.timeout)
	if err == nil {
		err = w.Wait()
	}
	runtime.KeepAlive(out)
	runtime.KeepAlive(t)
	if err != nil {
		return nil, g.failed(doing, start, err)
	}
	return out, nil
}

// Gather gives root the tensors of all ranks, by rank, each like t, which is contiguous; the other ranks get nil.
func (g *Group) Gather(doing string, root int, t torch.Tensor) ([]torch.Tensor, error) {
	if g == nil {
		return []torch.Tensor{t.Clone()}, nil
	}
	start := time.Now()
	var out []torch.Tensor
	var handles []capi.Handle
	if g.Rank() == root {
		for range g.Size() {
			out = append(out, torch.Empty(t.DType(), t.Device(), t.Shape()...))
			handles = append(handles, native(out[len(out)-1], "gather"))
		}
	}
	w, err := g.of(t).Gather(native(t, "gather"), handles, root, g.timeout)
	if err == nil {
		err = w.Wait()
	}
	runtime.KeepAlive(out)
	runtime.KeepAlive(t)
	if err != nil {
		return nil, g.failed(doing, start, err)
	}
	return out, nil
}

// Barrier waits until all ranks are here.
func (g *Group) Barrier(doing string) error {
	if g == nil {
		return nil
	}
	start := time.Now()
	if err := g.gloo.Barrier(g.timeout); err != nil {
		return g.failed(doing, start, err)
	}
	return nil
}

// MonitoredBarrier waits until all ranks are here, for less long than the group's timeout perhaps; its error names all ranks
// that did not come. It costs a message from each rank to rank 0 and back.
func (g *Group) MonitoredBarrier(doing string, timeout time.Duration) error {
	if g == nil {
		return nil
	}
	start := time.Now()
	if err := g.gloo.MonitoredBarrier(timeout); err != nil {
		return g.failed(doing, start, err)
	}
	return nil
}

// SumOf is x summed over all ranks, recorded by autograd: its gradient is the sum of the ranks' gradients.
func (g *Group) SumOf(x torch.Tensor) torch.Tensor {
	if g == nil {
		return x
	}
	h, scope, err := g.of(x).Sum(native(x, "sum_over_group"))
	if err != nil {
		panic(&torch.Error{Op: "sum_over_group", Msg: err.Msg})
	}
	runtime.KeepAlive(x)
	return adopt(h, scope)
}

// Failed makes an [*Error] of one that a call returned which is none of the group's own, such as a backward pass that a
// [Reducer] takes part in, where it comes of other ranks: others stay as they are. start is when the call began.
func (g *Group) Failed(doing string, start time.Time, err error) error {
	var known *Error
	if g == nil || err == nil || errors.As(err, &known) || !ofRanks(err.Error()) {
		return err
	}
	return g.failed(doing, start, &capi.Error{Msg: err.Error()})
}

// ofRanks reports whether a message of libtorch's is of the library that carries tensors, by the name in it.
func ofRanks(message string) bool {
	return strings.Contains(message, "gloo") || strings.Contains(message, "NCCL")
}

func (g *Group) failed(doing string, start time.Time, err *capi.Error) error {
	g.abort()
	end := start.Add(g.timeout + 1500*time.Millisecond)
	return &Error{
		Rank: g.Rank(), Size: g.Size(), Doing: doing,
		Peers: g.monitor.suspects(end), Err: errors.New(firstLine(err.Msg)),
	}
}

// abort ends what the GPU has queued and waits for ranks that will not come: who waits for the GPU would wait with it.
func (g *Group) abort() {
	if g.nccl != 0 && !g.aborted {
		g.aborted = true
		g.nccl.AbortNCCL() //nolint:errcheck // something failed before, and that is told
	}
}

// Abandon is for an error of this process in the middle of what all do together: the others are told, and do not wait for it any
// longer once it ends. Its own GPU stops waiting for theirs.
func (g *Group) Abandon(doing string, err error) error {
	var known *Error
	if g == nil || err == nil || errors.As(err, &known) {
		return err
	}
	g.Fail(err)
	g.abort()
	return &Error{Rank: g.Rank(), Size: g.Size(), Doing: doing, Err: err}
}

// Fail tells the others why this rank ends, so that they can say so. It may be called on any goroutine.
func (g *Group) Fail(err error) {
	if g == nil || err == nil {
		return
	}
	g.monitor.fail(err)
}

// Close leaves the group. A rank that ends without an error waits for the others, so that none of them misses it: Close with
// failed false on all ranks, or true where there was an error.
func (g *Group) Close(failed bool) {
	if g == nil {
		return
	}
	if failed {
		g.abort()
		g.monitor.leave(true)
		return // what others wait for may be within the group: the end of the process frees it
	}
	counted := make(chan struct{})
	go func() {
		g.last()
		g.monitor.leave(false)
		close(counted)
	}()
	select {
	case <-counted:
	case <-time.After(lastWait + time.Second): // a store whose process is stopped does not answer, and this rank is done
		return
	}
	if g.nccl != 0 {
		g.nccl.Free()
	}
	g.gloo.Free()
	g.store.Free()
	g.whole.Free()
}

// lastWait is how long the rank that keeps the store waits for the others at the end.
const lastWait = 5 * time.Second

// last counts this rank out; where the store lies in this process, it waits for the others to be.
func (g *Group) last() {
	const key = "left"
	n, err := g.store.Add(key, 1)
	for end := time.Now().Add(lastWait); g.Rank() == 0 && err == nil && n < int64(g.Size()) && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
		n, err = g.store.Add(key, 0)
	}
}

// firstLine leaves out C++ stacks.
func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}
