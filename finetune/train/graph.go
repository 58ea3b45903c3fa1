package train

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/data"
	"github.com/thaw-ml/thaw/torch/nn"
)

// graphs queues steps on a device that works beside the CPU. Nothing in it waits for a step: the next batch is copied
// while the step before runs, learning rates and the loss stay on the device, and steps whose shapes come often are
// captured once as CUDA graphs and replayed.
type graphs[B data.Batch[B]] struct {
	step     *step[B]
	config   Config[B]
	backend  Backend
	cache    PrefixCache[B]
	top      []float64 // the groups' highest learning rates
	lossSum  *lossSum
	hyper    torch.Tensor // float32: the groups' learning rates, and last the number of samples of the batch
	shapes   map[string]*static[B]
	captured []string // shapes of batches whose steps are graphs
	reported int      // of captured, in events
	noGraphs bool     // none are captured: by Config, or because memory ran short
}

// static is where batches of the same shapes lie on the device.
type static[B data.Batch[B]] struct {
	inputs  []torch.Tensor // static inputs: what a step reads; undefined where such batches have nothing
	staging []torch.Tensor // where the next batch arrives; the last is for hyper
	graph   Graph          // nil for steps that run operator by operator
	refused bool           // the step could not be captured, or its graph differed
}

func newGraphs[B data.Batch[B]](c Config[B], s *step[B], top []float64) *graphs[B] {
	g := &graphs[B]{
		step: s, config: c, backend: c.Model.Backend, cache: c.Cache, top: top, shapes: map[string]*static[B]{},
		lossSum: newLossSum(c.Model.Backend), noGraphs: c.NoGraphs || s.scaler != nil || // a captured step cannot be dropped where gradients overflowed
			c.Group != nil, // what processes send one another is not captured
	}
	ready := false
	defer func() {
		if !ready { // memory ran short
			g.close()
		}
	}()
	g.hyper = torch.NewParam(func() torch.Tensor {
		return torch.Zeros(torch.Float32, g.backend.Device(), len(c.Groups)+1)
	})
	if s.precision != torch.Float32 && c.Group == nil { // of several processes each gradient is sent as it comes
		s.cast = s.newCast(c.Cache != nil)
	}
	s.newOptimizer(c, g.hyper)
	ready = true
	return g
}

func (g *graphs[B]) begin(lossSum float64, samples int) { g.lossSum.reset(lossSum, samples) }

func (g *graphs[B]) sum() (float64, error) { return g.lossSum.value() }
func (g *graphs[B]) measured() int         { return g.lossSum.known }

// pack makes the tensors that a step reads of a batch, in pinned memory.
func (g *graphs[B]) pack() func(B) []torch.Tensor {
	return func(b B) (packed []torch.Tensor) {
		torch.Scoped(func() {
			torch.SingleThreaded(func() {
				tensors := b.Tensors()
				if g.cache != nil {
					tensors = append(tensors, g.cache.Inputs(b)...)
				}
				packed = g.backend.Pin(tensors)
			})
			torch.Keep(packed...)
		})
		return packed
	}
}

func (g *graphs[B]) run(l data.Loaded[B], rates []float64) (loss float64, err error) {
	if err := g.backend.Throttle(); err != nil {
		return 0, err
	}
	for i, group := range g.step.optimizer.Groups() {
		group.LR = rates[i]
	}
	samples := l.Samples
	if t := g.step.together; t != nil {
		samples = t.samples
	}
	if l.Samples == 0 {
		return g.absent(rates, samples)
	}
	s, err := g.staticOf(l.Inputs)
	if err != nil {
		return 0, err
	}
	if err := g.deliver(s, l.Inputs, hyperValues(rates, samples)); err != nil {
		return 0, err
	}
	step := func() (err error) {
		torch.Scoped(func() { err = g.compute(l.Batch, s) })
		return err
	}
	if s.graph == nil && !s.refused && g.worthCapturing(l.Batch) {
		if err := g.capture(s, l.Batch, step); err != nil {
			return 0, err
		}
	}
	if s.graph != nil {
		err = s.graph.Replay()
	} else {
		err = g.beside(step)
	}
	if err != nil {
		return 0, err
	}
	return g.lossSum.queued(samples)
}

// absent is this process's part in a step of so many samples of which it has none.
func (g *graphs[B]) absent(rates []float64, samples int) (loss float64, err error) {
	g.setHyper(rates, samples)
	err = torch.ScopedErr(func() error {
		mean, err := g.step.absent(g.backend.Device())
		if err == nil {
			g.lossSum.add(mean, g.hyper.Select(0, -1))
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	return g.lossSum.queued(samples)
}

// compute runs one step. It may be captured as a CUDA graph, so whatever changes between steps is read from the static
// inputs and hyper.
func (g *graphs[B]) compute(b B, s *static[B]) error {
	own := len(s.inputs)
	var x nn.Values
	if g.cache != nil {
		own -= g.cache.NumInputs()
		x = g.cache.Output(b, s.inputs[own:])
	}
	loss, err := g.step.run(b.With(s.inputs[:own]), x)
	if err != nil {
		return err
	}
	g.lossSum.add(loss, g.hyper.Select(0, -1))
	return nil
}

func (g *graphs[B]) loss() (float64, error) {
	loss, err := g.lossSum.total()
	if err == nil && len(g.captured) > g.reported {
		err = g.config.OnEvent(GraphsCaptured{g.captured[g.reported:]})
		g.reported = len(g.captured)
	}
	return loss, err
}

// beside runs f operator by operator, with the memory that graphs keep, as nothing is replayed meanwhile and f leaves
// nothing there. Where memory runs short all the same the graphs are released, for the rest of the phase, and f runs
// once more.
func (g *graphs[B]) beside(f func() error) error {
	run := func() error { return torch.TryErr(func() error { return g.backend.ShareGraphMemory(f) }) }
	err := run()
	if !errors.Is(err, torch.ErrOutOfMemory) || !g.release() {
		return err
	}
	if err := g.warn(GraphsReleased, "memory ran short beside the captured steps: steps run operator by operator from here on, "+
		"which is slower; with smaller batches they could stay captured"); err != nil {
		return err
	}
	if err := g.backend.EmptyCache(); err != nil {
		return err
	}
	return run()
}

// release frees all graphs, and lets none be captured; it reports whether there were any.
func (g *graphs[B]) release() (any bool) {
	g.step.optimizer.ZeroGrad() // what a step that broke off has left
	g.noGraphs = true
	for _, s := range g.shapes {
		if s.graph != nil {
			s.graph.Close()
			s.graph, any = nil, true
		}
	}
	g.captured, g.reported = nil, 0
	return any
}

func (g *graphs[B]) warn(kind WarningKind, format string, args ...any) error {
	return g.config.OnEvent(Warning{kind, fmt.Sprintf(format, args...)})
}

// hyperValues is what the tensor hyper holds.
func hyperValues(rates []float64, samples int) []float32 {
	values := make([]float32, 0, len(rates)+1)
	for _, rate := range rates {
		values = append(values, float32(rate))
	}
	return append(values, float32(samples))
}

// setHyper sets learning rates and the number of samples, waiting for what came before.
func (g *graphs[B]) setHyper(rates []float64, samples int) {
	torch.Scoped(func() { g.hyper.Copy_(torch.FromSlice(hyperValues(rates, samples))) })
}

// shapeOf names the shape of a batch: samples x length, or samples alone where they have no length.
func shapeOf[B data.Batch[B]](b B) string {
	if b.Lengths() == nil {
		return fmt.Sprint(b.Size(), " samples")
	}
	return fmt.Sprintf("%d x %d", b.Size(), b.Width())
}

// worthCapturing reports whether batches of this shape come so often that capturing pays: it takes as long as four
// steps or so.
func (g *graphs[B]) worthCapturing(b B) bool {
	return !g.noGraphs && g.config.Expected(b) >= 4
}

// staticOf finds or allocates the static inputs of batches with these shapes.
func (g *graphs[B]) staticOf(inputs []torch.Tensor) (*static[B], error) {
	var key strings.Builder
	for _, t := range inputs {
		if t.Defined() {
			fmt.Fprint(&key, t.DType(), t.Shape())
		}
		key.WriteByte(';')
	}
	if s := g.shapes[key.String()]; s != nil {
		return s, nil
	}
	s := &static[B]{}
	g.shapes[key.String()] = s // first, so that close frees what was allocated before memory ran short
	device := g.backend.Device()
	torch.Unscoped(func() {
		for _, t := range inputs {
			s.inputs = append(s.inputs, emptyLike(t, device))
			s.staging = append(s.staging, emptyLike(t, device))
		}
		s.staging = append(s.staging, g.hyper.EmptyLike())
	})
	return s, g.backend.AllocFence()
}

// deliver copies a batch to its static inputs, beside the step that may still run.
func (g *graphs[B]) deliver(s *static[B], inputs []torch.Tensor, hyper []float32) (err error) {
	torch.Scoped(func() {
		from := append(append([]torch.Tensor{}, inputs...), g.backend.Pin([]torch.Tensor{torch.FromSlice(hyper)})[0])
		to := append(append([]torch.Tensor{}, s.inputs...), g.hyper)
		if err = g.backend.Prefetch(func() { copyAll(s.staging, from) }); err != nil {
			return
		}
		copyAll(to, s.staging)
		err = g.backend.StagingFree()
	})
	return err
}

// close frees what lies on the device.
func (g *graphs[B]) close() {
	for _, s := range g.shapes {
		if s.graph != nil {
			s.graph.Close()
		}
		closeAll(s.inputs)
		closeAll(s.staging)
	}
	g.lossSum.close()
	g.hyper.Close()
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
