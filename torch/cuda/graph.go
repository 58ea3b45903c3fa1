package cuda

import (
	"errors"
	"runtime"
	"strings"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/internal/capi"
)

// GraphOptions say how a graph is captured.
type GraphOptions struct {
	Device int // Current for the current one
	// WarmUp is how often the function runs before it is captured, so that what happens only the first time (handles,
	// cuDNN's choices, gradients made) is behind it. 0 stands for 3, PyTorch's number; -1 for not at all.
	WarmUp int
	// SharePool, where set, is a captured graph whose memory the new one uses too. The graphs must not run at the same
	// time, and the replay of one overwrites the outputs of the other. After a capture that failed, the graph has
	// memory of its own.
	SharePool *Graph
}

// Graph holds all that a function launched on a device, captured, and replayed by one launch.
//
// A replay reads and writes the memory that the capture did: inputs are tensors made before, filled anew for each
// replay (Copy_, CopyAsync_), outputs are overwritten by the next replay. Random numbers go on: the device's generator
// is registered with the graph, so dropout masks differ from replay to replay as they do eagerly.
//
// What cannot be captured is whatever the CPU needs an answer from the device for: Item and ToSlice, printing, copies
// to the CPU, shapes that depend on values (NonZero, indexing by a mask), and Go code that decides by such an answer;
// nor copies from CPU memory that is not pinned. Go code in the function runs at the capture only, not at replays.
//
// A graph is used from one goroutine at a time and is to be closed.
type Graph struct {
	g       capi.CUDAGraph
	options GraphOptions
	outputs []torch.Tensor
	ready   bool
}

// NewGraph makes a graph that holds nothing yet.
func NewGraph(o GraphOptions) (*Graph, error) {
	var pool capi.CUDAGraph
	if o.SharePool != nil {
		if !o.SharePool.ready {
			return nil, &Error{Op: "graph", Msg: "the graph to share memory with is closed, or not captured yet"}
		}
		pool = o.SharePool.g
	}
	if o.WarmUp == 0 {
		o.WarmUp = 3
	}
	g, err := capi.NewCUDAGraph(o.Device, pool)
	if err != nil {
		return nil, wrap("graph", err)
	}
	return &Graph{g: g, options: o}, nil
}

// Capture runs f for the warm-up and once more for the capture: on the current stream, or, where that is the default
// one, which cannot be recorded, on a side stream that starts behind it and that it waits for. A function that trains
// should run on one stream of its own ([WithStream]) from the start: autograd adds up a gradient on the stream where
// its parameter first took part. [torch.Autocast] belongs inside f: around Capture it would keep casts of weights from
// the warm-up. Tensors that f makes are freed at the end of each run, except what the last returned: the graph's
// outputs, which live until Close. The warm-up's runs are real: parameters and generators move. The recorded run does
// nothing on the device before the first Replay.
//
// Errors that tensor operations in f panic with are returned, with a word on what cannot be captured; the device, the
// generators and the allocator are as if there had been no capture, and the same graph may try again. Other panics go
// on.
func (g *Graph) Capture(f func() []torch.Tensor) error {
	switch {
	case g == nil || g.g == 0:
		return &Error{Op: "graph capture", Msg: "the graph is closed, or was not made by NewGraph"}
	case g.ready:
		return &Error{Op: "graph capture", Msg: "the graph was captured already: make another"}
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	current, err := CurrentStream(g.options.Device)
	if err != nil {
		return err
	}
	on := func(s Stream) (err error) { // with its device current too
		failure := WithStream(s, func() { err = g.record(s, f) })
		return errors.Join(err, failure)
	}
	if !current.isDefault() {
		return on(current)
	}
	side, err := NewStream(StreamOptions{Device: g.options.Device})
	if err != nil {
		return err
	}
	if err := side.WaitFor(current); err != nil {
		return err
	}
	return errors.Join(on(side), current.WaitFor(side))
}

// record is Capture's inside, on the current stream.
func (g *Graph) record(current Stream, f func() []torch.Tensor) error {
	for range g.options.WarmUp {
		if err := torch.Try(func() { torch.Scoped(func() { f() }) }); err != nil {
			return &Error{Op: "graph warm-up", Msg: err.Error()}
		}
	}
	if err := current.Synchronize(); err != nil {
		return err
	}
	if err := g.g.Begin(); err != nil {
		return captureError(err)
	}
	ended := false
	defer func() {
		if !ended { // f panicked with something else
			g.g.Abandon()
		}
	}()
	var outputs []torch.Tensor
	failure := torch.Try(func() {
		torch.Scoped(func() {
			outputs = f()
			for _, t := range outputs {
				torch.Keep(t)
			}
		})
	})
	ended = true
	if failure != nil {
		g.g.Abandon()
		return captureError(failure)
	}
	if err := g.g.End(); err != nil {
		closeAll(outputs)
		return captureError(err)
	}
	g.outputs, g.ready = outputs, true
	return nil
}

// Outputs are the tensors that the captured run returned. They hold values only after a Replay, those of the last; they
// are the graph's and must not be closed.
func (g *Graph) Outputs() []torch.Tensor { return g.outputs }

// Replay launches the graph on the current stream and returns at once.
func (g *Graph) Replay() error {
	if g == nil || !g.ready {
		return &Error{Op: "graph replay", Msg: "nothing was captured"}
	}
	return wrap("graph replay", g.g.Replay())
}

// Share runs f with the graph's memory: what f makes on the current stream lies there, and where that is the stream of
// the capture f takes what the graph keeps before it takes more. A replay of the graph, or of one that shares its
// memory, overwrites it: nothing that f made may be used any more then. Where memory runs short in f, what the
// allocator keeps otherwise is not given back to make room. Share does not nest.
func (g *Graph) Share(f func()) (err error) {
	if g == nil || !g.ready {
		return &Error{Op: "graph memory", Msg: "nothing was captured"}
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := g.g.Enter(); err != nil {
		return wrap("graph memory", err)
	}
	defer func() {
		if e := g.g.Leave(); e != nil && err == nil {
			err = wrap("graph memory", e)
		}
	}()
	f()
	return nil
}

// Close frees the graph, its outputs and its memory. Closing it again does nothing.
func (g *Graph) Close() {
	if g == nil || g.g == 0 {
		return
	}
	closeAll(g.outputs)
	g.g.Free()
	*g = Graph{}
}

func closeAll(tensors []torch.Tensor) {
	for _, t := range tensors {
		t.Close()
	}
}

// What CUDA and libtorch say when something cannot be captured, and what it means. The texts are those of CUDA 13.0 and
// libtorch 2.11.
var uncapturable = []struct{ says, means string }{
	{"Cannot copy between CPU and CUDA tensors during CUDA graph capture",
		"the function copies between the CPU and the device: read results (Item, ToSlice, printing) after a replay; make constants before, on the device; fill inputs from PinMemory with CopyAsync_"},
	{"operation not permitted when stream is capturing",
		"the function waits for the device (Item, ToSlice, a copy to the CPU, a shape that depends on values, printing): take that out of it"},
	{"operation would make the legacy stream depend on a capturing blocking stream",
		"the function uses the default stream, or a gradient that began there: run all that trains on one stream (WithStream), and change none inside"},
	{"operation failed due to a previous error during capture",
		"something in the function cannot be captured, and its error was passed over"},
	{"unjoined work",
		"the function gave work to another stream and did not wait for it on the captured one"},
	{"dependency created on uncaptured work in another stream",
		"the function waits for what another stream was given before the capture: wait for it before"},
	{"Offset increment outside graph capture",
		"the function draws from a generator that is not the device's own: give its operators nil for a generator"},
	{"Cannot call CUDAGeneratorImpl::", "the function seeds or reads the generator: do that outside"},
	{"set_current_seed can be called during stream capture only", "the function seeds the generator: do that outside"},
	{"Cannot prepare for replay during capturing stage", "the function replays another graph: do that outside"},
	{"must be captured on a non-default stream", "the default stream cannot be captured"},
}

// captureError adds to a failure what it means.
func captureError(err error) error {
	var e *capi.Error
	msg := err.Error()
	if errors.As(err, &e) {
		msg = e.Msg
	}
	for _, u := range uncapturable {
		if strings.Contains(msg, u.says) {
			msg = u.means + " (" + msg + ")"
			break
		}
	}
	return &Error{Op: "graph capture", Msg: msg}
}
